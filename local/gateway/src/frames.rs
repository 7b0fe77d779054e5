//! The text frames that API Gateway itself sends to clients. Their spacing is AWS's, from captures.

/// Why a client gets an error frame. The connection stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// No route has the selected key, and there is no `$default`.
    Forbidden,
    /// The integration failed, or answered in a form that API Gateway does not accept.
    Internal,
    /// The integration took longer than its timeout.
    TimedOut,
    /// The route is throttled. AWS's text is not known; this is its REST APIs'.
    TooManyRequests,
}

impl Error {
    /// The frame's text.
    pub(super) fn frame(self, connection_id: &str, request_id: &str) -> String {
        let message = match self {
            Self::Forbidden => "Forbidden",
            Self::Internal => "Internal server error",
            Self::TimedOut => "Endpoint request timed out",
            Self::TooManyRequests => "Too Many Requests",
        };
        format!(r#"{{"message": "{message}", "connectionId":"{connection_id}", "requestId":"{request_id}"}}"#)
    }
}

/// The frame for a message that does not match its model. Its form is documented, and differs from the others.
pub(super) fn bad_request_body(connection_id: &str, message_id: &str) -> String {
    format!(r#"{{"message" : "Bad request body", "connectionId": "{connection_id}", "messageId": "{message_id}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_equal_the_captured_ones_to_the_byte() {
        assert_eq!(
            Error::Internal.frame("Qyi07eCbtjMCJKw=", "Qyi3UG41tjMFlUg="),
            r#"{"message": "Internal server error", "connectionId":"Qyi07eCbtjMCJKw=", "requestId":"Qyi3UG41tjMFlUg="}"#
        );
        assert_eq!(
            Error::Forbidden.frame("XDmENcnwIE0CFEQ=", "XDmGEE2RoE0FRdQ="),
            r#"{"message": "Forbidden", "connectionId":"XDmENcnwIE0CFEQ=", "requestId":"XDmGEE2RoE0FRdQ="}"#
        );
        assert_eq!(
            Error::TimedOut.frame("Llf4ceE2NjMCF7w=", "Llf7PFSNNjMFZeA="),
            r#"{"message": "Endpoint request timed out", "connectionId":"Llf4ceE2NjMCF7w=", "requestId":"Llf7PFSNNjMFZeA="}"#
        );
    }
}
