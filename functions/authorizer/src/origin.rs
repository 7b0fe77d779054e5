//! The pages from which browsers may connect.

use tidings::Handshake;

use crate::Denial;

/// Longest part of an origin that is logged.
const SHOWN: usize = 128;

/// Origins as browsers write them, `https://app.example.com`; none lets every page in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Understands a list that is separated by commas. `None` when one of them is no origin.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        origins.map(origin).collect::<Option<_>>().map(Self)
    }

    /// Whether every page is let in.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a page of this origin is let in.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        self.is_any() || self.0.iter().any(|allowed| allowed == origin)
    }
}

/// A browser always says from which page it comes, and no page can change that. What says nothing is no browser: it could
/// have said anything, so an origin would prove nothing about it.
pub(crate) fn check(allowed: &Origins, handshake: &Handshake) -> Result<(), Denial> {
    match handshake.headers("origin").find(|origin| !allowed.allows(origin)) {
        None => Ok(()),
        Some(other) => {
            let shown = other.chars().filter(char::is_ascii_graphic).take(SHOWN);
            Err(Denial::Origin(shown.collect()))
        }
    }
}

fn origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let uri: http::Uri = text.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let is_bare = text == format!("{}://{authority}", uri.scheme_str()?) && !authority.contains('@');
    is_bare.then_some(text)
}

#[cfg(test)]
mod tests {
    use tidings::ConnectionId;

    use super::*;

    fn is_allowed(allowed: &str, origin: Option<&str>) -> bool {
        let mut handshake = Handshake::new(ConnectionId::parse("c=").unwrap());
        if let Some(origin) = origin {
            handshake = handshake.with_header("Origin", origin);
        }
        check(&Origins::parse(allowed).unwrap(), &handshake).is_ok()
    }

    #[test]
    fn only_the_listed_pages_may_connect_and_what_is_no_browser() {
        let list = "https://app.example.com, http://localhost:5173,HTTPS://Upper.example";
        for origin in ["https://app.example.com", "http://localhost:5173", "https://upper.example"] {
            assert!(is_allowed(list, Some(origin)), "{origin}");
        }
        for origin in [
            "https://app.example.com.evil.org",
            "https://evil.org",
            "http://app.example.com",
            "https://app.example.com:444",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!is_allowed(list, Some(origin)), "{origin}");
            assert!(is_allowed("", Some(origin)), "no list: {origin}");
        }
        assert!(is_allowed(list, None));
    }

    #[test]
    fn a_list_of_something_else_is_refused() {
        for text in ["app.example.com", "https://a/", "https://a/path", "https://u@a", "*", "https://a b"] {
            assert_eq!(Origins::parse(text), None, "{text}");
        }
        assert_eq!(Origins::parse(" , "), Some(Origins::default()));
    }
}
