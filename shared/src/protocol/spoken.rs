//! Which protocols a stack speaks.

use super::Protocol;
use crate::config::{ConfigError, optional};

/// The protocols that a stack speaks beside those of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spoken(Vec<Protocol>);

impl Spoken {
    /// Reads names that are separated by commas, as `PROTOCOLS` has them; `None` where one of them is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let foreign = names.map(|name| {
            Protocol::from_name(name).filter(|protocol| protocol.is_foreign() && protocol.family() == *protocol)
        });
        foreign.collect::<Option<_>>().map(Self)
    }

    /// Reads `PROTOCOLS`; without it nothing else is spoken.
    ///
    /// # Errors
    /// When it names what is no protocol.
    pub fn from_env() -> Result<Self, ConfigError> {
        let Some(value) = optional("PROTOCOLS") else { return Ok(Self::default()) };
        let expected = "list protocols, separated by commas; there are centrifuge and webpubsub";
        Self::parse(&value).ok_or(ConfigError::Invalid { name: "PROTOCOLS", value, expected })
    }

    /// Whether the stack speaks it.
    #[must_use]
    pub fn has(&self, protocol: Protocol) -> bool {
        !protocol.is_foreign() || self.0.contains(&protocol.family())
    }

    /// The subprotocols that clients may offer, in the order of preference.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'static str> {
        let spoken = Protocol::ALL.into_iter().filter(|protocol| self.has(*protocol) && !protocol.has_outbox());
        spoken.filter_map(Protocol::subprotocol)
    }

    /// The protocol of a subprotocol that a client offers, if the stack speaks it.
    #[must_use]
    pub fn offered(&self, name: &str) -> Option<Protocol> {
        let mut spoken = Protocol::ALL.into_iter().filter(|protocol| self.has(*protocol));
        spoken.find(|protocol| protocol.subprotocol() == Some(name))
    }
}
