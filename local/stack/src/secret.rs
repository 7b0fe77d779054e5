//! The secrets of a stack, and how their first values are made.

/// A secret of Secrets Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// `Name` if given, else the logical id.
    pub name: String,
    /// What `!Ref` resolves to. AWS would put six random characters behind the name.
    pub arn: String,
    /// What people are told that it is for.
    pub description: Option<String>,
    /// Its first value.
    pub value: SecretValue,
}

/// The value that a secret begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// `SecretString`.
    Text(String),
    /// `GenerateSecretString`.
    Generated(GeneratedSecret),
    /// It has none until one is put.
    None,
}

/// How a random value is made. [`GeneratedSecret::default`] gives the defaults of CloudFormation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedSecret {
    /// How many characters, 1 to 4,096.
    pub length: usize,
    /// Whether there may be lower-case letters.
    pub lowercase: bool,
    /// Whether there may be capital letters.
    pub uppercase: bool,
    /// Whether there may be digits.
    pub digits: bool,
    /// Whether there may be punctuation.
    pub punctuation: bool,
    /// Whether there may be spaces.
    pub space: bool,
    /// Characters that must not be there.
    pub excluded: String,
    /// At least one of each kind.
    pub require_each_kind: bool,
    /// What the value is put into, where it does not stand for itself.
    pub template: Option<SecretTemplate>,
}

/// `SecretStringTemplate` with `GenerateStringKey`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretTemplate {
    /// The object with all other fields.
    pub object: serde_json::Map<String, serde_json::Value>,
    /// The field for the random value.
    pub key: String,
}

/// The characters that AWS takes for punctuation.
const PUNCTUATION: &str = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##;
const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";

impl GeneratedSecret {
    /// The characters to choose from, by kind; no kind is empty.
    #[must_use]
    pub fn kinds(&self) -> Vec<Vec<char>> {
        let kinds = [
            (LOWERCASE, self.lowercase),
            (UPPERCASE, self.uppercase),
            (DIGITS, self.digits),
            (PUNCTUATION, self.punctuation),
            (" ", self.space),
        ];
        let kinds = kinds.into_iter().filter(|(_, wanted)| *wanted);
        let kinds = kinds.map(|(kind, _)| kind.chars().filter(|other| !self.excluded.contains(*other)).collect());
        kinds.filter(|kind: &Vec<char>| !kind.is_empty()).collect()
    }
}

impl Default for GeneratedSecret {
    fn default() -> Self {
        Self {
            length: 32,
            lowercase: true,
            uppercase: true,
            digits: true,
            punctuation: true,
            space: false,
            excluded: String::new(),
            require_each_kind: true,
            template: None,
        }
    }
}
