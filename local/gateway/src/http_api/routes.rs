//! Which stage and route a request goes to.
//!
//! The Developer Guide, "Create routes for HTTP APIs": a full match of route and method comes first, then a greedy path
//! variable, then `$default`. That the path is decoded before it is looked at, and ends at a decoded `?`, is what
//! published captures of events show; whether a `%2F` separates segments for the choice of a route is not known, and
//! here it does.

use http::Method;
use indexmap::IndexMap;
use percent_encoding::percent_decode_str;

use tidings_local_stack::{HttpRoute, Stage};

/// A route key, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// `None` takes any.
    method: Option<String>,
    /// `None` is `$default`.
    segments: Option<Vec<Segment>>,
}

/// In the order in which they are preferred.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Fixed(String),
    Variable(String),
    Greedy(String),
}

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) route: &'a HttpRoute,
    pub(super) variables: IndexMap<String, String>,
}

/// The stage of a request and the path within it.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) stage: &'a Stage,
    pub(super) rest: &'a str,
}

impl Pattern {
    pub(super) fn new(key: &str) -> Self {
        let Some((method, path)) = key.split_once(' ') else { return Self { method: None, segments: None } };
        let segment = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            None => Segment::Fixed(text.to_owned()),
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Segment::Greedy(name.to_owned()),
                None => Segment::Variable(name.to_owned()),
            },
        };
        Self {
            method: (method != "ANY").then(|| method.to_owned()),
            segments: Some(path.trim_start_matches('/').split('/').map(segment).collect()),
        }
    }

    /// The variables, if the path matches.
    fn matches(&self, path: &str) -> Option<IndexMap<String, String>> {
        let mut variables = IndexMap::new();
        let Some(segments) = &self.segments else { return Some(variables) };
        let mut rest = Some(path.strip_prefix('/').unwrap_or(path));
        for segment in segments {
            let left = rest.take()?;
            let (first, more) = match left.split_once('/') {
                Some((first, more)) => (first, Some(more)),
                None => (left, None),
            };
            rest = more;
            match segment {
                Segment::Fixed(text) if text == first => {}
                Segment::Variable(name) if !first.is_empty() => drop(variables.insert(name.clone(), first.to_owned())),
                Segment::Greedy(name) if !left.is_empty() => {
                    variables.insert(name.clone(), left.to_owned());
                    rest = None;
                }
                _ => return None,
            }
        }
        rest.is_none().then_some(variables)
    }

    /// What is preferred is less: whole matches, then greedy ones, then `$default`; of these the one whose first
    /// different segment is more exact; of these the one that names the method.
    fn rank(&self) -> (u8, Vec<u8>, bool) {
        let Some(segments) = &self.segments else { return (2, Vec::new(), true) };
        let kinds = segments.iter().map(|segment| match segment {
            Segment::Fixed(_) => 0,
            Segment::Variable(_) => 1,
            Segment::Greedy(_) => 2,
        });
        let kinds: Vec<_> = kinds.collect();
        (u8::from(kinds.last() == Some(&2)), kinds, self.method.is_none())
    }
}

/// A path as API Gateway hands it on.
pub(super) fn decoded(path: &str) -> String {
    let path = percent_decode_str(path).decode_utf8_lossy();
    path.split('?').next().unwrap_or_default().to_owned()
}

/// The stage that the path begins with, else the one without a name.
pub(super) fn stage<'a>(stages: &'a [Stage], path: &'a str) -> Option<Target<'a>> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let (first, _) = rest.split_once('/').unwrap_or((rest, ""));
    let named = stages.iter().find(|stage| stage.name == first && stage.name != "$default");
    match named {
        Some(stage) => Some(Target { stage, rest: &rest[first.len()..] }),
        None => stages.iter().find(|stage| stage.name == "$default").map(|stage| Target { stage, rest: path }),
    }
}

/// The route that takes the request.
pub(super) fn find<'a>(routes: &'a [(Pattern, HttpRoute)], method: &Method, path: &str) -> Option<Found<'a>> {
    routes
        .iter()
        .filter(|(pattern, _)| pattern.method.as_deref().is_none_or(|wanted| wanted == method.as_str()))
        .filter_map(|(pattern, route)| Some((pattern, Found { route, variables: pattern.matches(path)? })))
        .min_by_key(|(pattern, _)| pattern.rank())
        .map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_local_stack::{Authorization, HttpIntegration};

    fn routes(keys: &[&str]) -> Vec<(Pattern, HttpRoute)> {
        let route = |key: &&str| {
            let integration = HttpIntegration::Unsupported { reason: String::new() };
            let route = HttpRoute { key: (*key).to_owned(), integration, authorization: Authorization::None };
            (Pattern::new(key), route)
        };
        keys.iter().map(route).collect()
    }

    fn check(keys: &[&str], method: &str, path: &str, expected: Option<(&str, &[(&str, &str)])>) {
        let routes = routes(keys);
        let found = find(&routes, &method.parse().unwrap(), path);
        let found = found.as_ref().map(|found| {
            let variables = found.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            (found.route.key.as_str(), variables.collect::<Vec<_>>())
        });
        assert_eq!(found, expected.map(|(key, variables)| (key, variables.to_vec())), "{method} {path}");
    }

    /// The example of the Developer Guide.
    const GUIDE: [&str; 5] =
        ["$default", "ANY /{proxy+}", "GET /pets/{proxy+}", "GET /pets/dog/{id}", "GET /pets/dog/1"];

    #[test]
    fn routes_are_preferred_as_the_guide_says() {
        check(&GUIDE, "GET", "/pets/dog/1", Some(("GET /pets/dog/1", &[])));
        check(&GUIDE, "GET", "/pets/dog/2", Some(("GET /pets/dog/{id}", &[("id", "2")])));
        check(&GUIDE, "GET", "/pets/cat/1", Some(("GET /pets/{proxy+}", &[("proxy", "cat/1")])));
        check(&GUIDE, "POST", "/test/5", Some(("ANY /{proxy+}", &[("proxy", "test/5")])));
        check(&GUIDE, "POST", "/", Some(("$default", &[])));
    }

    #[test]
    fn a_method_is_preferred_to_any() {
        let keys = ["ANY /a", "GET /a"];
        check(&keys, "GET", "/a", Some(("GET /a", &[])));
        check(&keys, "PUT", "/a", Some(("ANY /a", &[])));
        check(&["GET /a"], "PUT", "/a", None);
    }

    #[test]
    fn segments_match_whole() {
        check(&["GET /a/{b}"], "GET", "/a/", None);
        check(&["GET /a/{b}"], "GET", "/a/b/c", None);
        check(&["GET /a"], "GET", "/a/", None);
        check(&["GET /"], "GET", "/", Some(("GET /", &[])));
        check(&["GET /{proxy+}"], "GET", "/", None);
        check(&["GET /a/{x}/c", "GET /a/{y+}"], "GET", "/a/b/d", Some(("GET /a/{y+}", &[("y", "b/d")])));
    }

    #[test]
    fn a_stage_is_named_first_or_is_the_default() {
        let stage_of = |names: &[&str], path: &str| {
            let stages: Vec<_> =
                names.iter().map(|name| Stage { name: (*name).to_owned(), ..Stage::default() }).collect();
            stage(&stages, path).map(|target| (target.stage.name.clone(), target.rest.to_owned()))
        };
        let pair = |name: &str, rest: &str| Some((name.to_owned(), rest.to_owned()));
        assert_eq!(stage_of(&["$default", "v1"], "/v1/pets"), pair("v1", "/pets"));
        assert_eq!(stage_of(&["$default", "v1"], "/v1"), pair("v1", ""));
        assert_eq!(stage_of(&["$default", "v1"], "/v11/pets"), pair("$default", "/v11/pets"));
        assert_eq!(stage_of(&["v1"], "/pets"), None);
    }

    #[test]
    fn paths_are_decoded_and_end_at_a_question_mark() {
        assert_eq!(decoded("/users/s%C3%BC%C3%9F/a%23b"), "/users/süß/a#b");
        assert_eq!(decoded("/users/a%3Fb/topics"), "/users/a");
    }
}
