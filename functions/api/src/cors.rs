//! What browsers are told of who may read an answer. Nothing here lets anybody in: tokens do, and no cookies are used.

use tidings_authorizer::config::Origins;

use crate::response::Response;

/// For how long a browser may keep in mind what it may send, in seconds: Chromium keeps nothing longer.
const MAX_AGE: &str = "7200";

/// Lets pages of these origins read an answer. One that lists methods (`Allow`) says what they may send, too.
pub(crate) fn allow(response: Response, origins: &Origins, origin: Option<&str>) -> Response {
    let response = match origin {
        _ if origins.is_any() => response.with_header("access-control-allow-origin", "*"),
        Some(origin) if origins.allows(origin) => {
            response.with_header("access-control-allow-origin", origin).with_header("vary", "origin")
        }
        // A cache must not give it to pages that may read it.
        _ => return response.with_header("vary", "origin"),
    };
    match response.header("allow").map(str::to_owned) {
        Some(methods) => response
            .with_header("access-control-allow-methods", &methods)
            .with_header("access-control-allow-headers", "authorization, content-type")
            .with_header("access-control-max-age", MAX_AGE),
        None => response.with_header("access-control-expose-headers", "retry-after"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &str, origin: Option<&str>) -> Option<String> {
        let answer = allow(Response::empty(200), &Origins::parse(list).unwrap(), origin);
        answer.header("access-control-allow-origin").map(str::to_owned)
    }

    #[test]
    fn pages_on_the_list_may_read_and_without_a_list_every_page() {
        assert_eq!(allowed("", Some("https://a.example")).as_deref(), Some("*"));
        let list = "https://a.example, https://b.example";
        assert_eq!(allowed(list, Some("https://b.example")).as_deref(), Some("https://b.example"));
        assert_eq!(allowed(list, Some("https://c.example")), None);
        assert_eq!(allowed(list, None), None);
    }

    #[test]
    fn a_page_is_told_what_it_may_send_and_which_header_it_may_read() {
        let any = Origins::default();
        let options = allow(Response::empty(204).with_header("allow", "GET, OPTIONS"), &any, None);
        assert_eq!(options.header("access-control-allow-methods"), Some("GET, OPTIONS"));
        assert_eq!(options.header("access-control-allow-headers"), Some("authorization, content-type"));
        let answer = allow(Response::empty(200), &any, None);
        assert_eq!(answer.header("access-control-expose-headers"), Some("retry-after"));
    }
}
