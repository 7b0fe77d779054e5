//! How connections end.

use tidings_local_observe::Actor;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// How a connection ended, as `$disconnect` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) farewell: Farewell,
}

/// What is left to do on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Send a close frame with the code and reason.
    Close,
    /// The client closed; tungstenite has the answer ready to be flushed.
    Answer,
    /// The TCP connection is gone.
    Nothing,
}

impl Ending {
    pub(super) fn by_gateway(code: CloseCode, reason: &str) -> Self {
        Self { code: code.into(), reason: reason.to_owned(), farewell: Farewell::Close }
    }

    /// Idle for too long or too old. What AWS says at the end of the lifetime is not captured; taken to be the same.
    pub(super) fn going_away() -> Self {
        Self::by_gateway(CloseCode::Away, "Going away")
    }

    /// `DELETE @connections`. What the client sees is not captured; taken to be what `$disconnect` sees.
    pub(super) fn deleted() -> Self {
        Self::by_gateway(CloseCode::Normal, "Connection Closed Normally")
    }

    pub(super) fn by_client(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = match frame {
            Some(frame) => (frame.code.into(), frame.reason.as_str().to_owned()),
            None => (1005, "Client-side close frame status not set".to_owned()),
        };
        Self { code, reason, farewell: Farewell::Answer }
    }

    /// Who ended it.
    pub(super) fn by(&self) -> Actor {
        match self.farewell {
            Farewell::Close => Actor::Gateway,
            Farewell::Answer => Actor::Client,
            Farewell::Nothing => Actor::Network,
        }
    }

    /// The TCP connection broke. AWS's reason is not captured.
    pub(super) fn lost() -> Self {
        Self { code: 1006, reason: String::new(), farewell: Farewell::Nothing }
    }

    /// What a broken frame leads to. The codes 1002 and 1007 are the standard's; AWS lists neither.
    pub(super) fn from_error(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self::by_gateway(CloseCode::Size, ""),
            Error::Utf8(_) => Self::by_gateway(CloseCode::Invalid, ""),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::lost(),
            Error::Protocol(_) => Self::by_gateway(CloseCode::Protocol, ""),
            _ => Self::lost(),
        }
    }
}
