//! Whom a token of Web PubSub is for: `aud` is a URL, of which only the path counts. The host is that of a proxy or a
//! distribution, which functions do not see.

use super::hub::Hub;
use crate::pattern::unescaped;

/// The path of a URL, decoded, without query and fragment; `None` where the text is no URL of `http(s)` or `ws(s)`.
#[must_use]
pub fn path_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.find('/').map_or("", |slash| &rest[slash..]);
    unescaped(path)
}

/// The hub whose clients a token is for, by its `aud`: `https://<host>[/<path>]/client/hubs/<hub>`, in any case.
#[must_use]
pub fn hub_of_client(audience: &str) -> Option<Hub> {
    let path = path_of(audience)?;
    let (before, hub) = path.trim_end_matches('/').rsplit_once('/')?;
    let before = before.to_ascii_lowercase();
    if before.ends_with("/client/hubs") { Hub::parse(hub).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_counts_in_any_case_and_decoded() {
        for audience in [
            "http://localhost:36627/client/hubs/h1",
            "https://example.com/prod/client/hubs/H1",
            "HTTPS://EXAMPLE.COM/CLIENT/HUBS/H1?x=/client/hubs/h2",
            "wss://example.com/client/hubs/%68%31/",
        ] {
            assert_eq!(hub_of_client(audience).unwrap().as_str(), "h1", "{audience}");
        }
    }

    #[test]
    fn what_is_for_servers_or_for_others_is_for_no_client() {
        for audience in [
            "",
            "h1",
            "/client/hubs/h1",
            "ftp://example.com/client/hubs/h1",
            "https://example.com",
            "https://example.com/client/hubs",
            "https://example.com/client/hubs/h/x",
            "https://example.com/api/hubs/h1/:send",
            "https://example.com/xclient/hubs/h1",
            "https://example.com/?/client/hubs/h1",
            "https://example.com/client/hubs/%zz",
        ] {
            assert_eq!(hub_of_client(audience), None, "{audience}");
        }
    }
}
