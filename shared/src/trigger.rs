//! What made a function run.

/// What brought a notification to the notifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A direct invoke.
    Direct,
    /// A queue.
    Sqs,
    /// SNS.
    Sns,
    /// EventBridge.
    EventBridge,
    /// A table's stream.
    DynamoDb,
    /// A Kinesis stream.
    Kinesis,
    /// A bucket.
    S3,
    /// A client's `publish`.
    Client,
    /// The REST API.
    Rest,
}

impl Trigger {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Sqs,
        Self::Sns,
        Self::EventBridge,
        Self::DynamoDb,
        Self::Kinesis,
        Self::S3,
        Self::Client,
        Self::Rest,
    ];

    /// Its name in sources (`aws/<name>/…`) and in the attribute that marks our own messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Sqs => "sqs",
            Self::Sns => "sns",
            Self::EventBridge => "events",
            Self::DynamoDb => "dynamodb",
            Self::Kinesis => "kinesis",
            Self::S3 => "s3",
            Self::Client => "client",
            Self::Rest => "rest",
        }
    }

    /// The trigger of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.name() == name)
    }
}
