//! Query strings. They are read as they were sent: what API Gateway has made of them joins repetitions with commas, which
//! names may contain.

use std::ops::RangeInclusive;

use percent_encoding::percent_decode;
use tidings::ids::InvalidId;

use crate::problem::Problem;

/// Parameters that were not taken yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    left: Vec<(String, String)>,
    taken: Vec<&'static str>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let mut left: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| Problem::invalid("query", "a name is not UTF-8"))?;
            let value = decode(value).ok_or_else(|| Problem::invalid(&name, "it is not UTF-8"))?;
            if left.iter().any(|(known, _)| *known == name) {
                return Err(Problem::invalid(&name, "it is there more than once; give it once"));
            }
            left.push((name, value));
        }
        Ok(Self { left, taken: Vec::new() })
    }

    /// Takes a parameter; one that is empty counts as given.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<String> {
        self.taken.push(name);
        let index = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.remove(index).1)
    }

    /// Takes a parameter that is a name of Tidings.
    pub(crate) fn take_id<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(String) -> Result<T, InvalidId>,
    ) -> Result<Option<T>, Problem> {
        self.take(name).map(parse).transpose().map_err(|error| Problem::invalid(name, error))
    }

    /// Takes a parameter that is a whole number within bounds.
    pub(crate) fn take_number(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse().ok().filter(|number| is_plain && bounds.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let (least, most) = bounds.into_inner();
                Err(Problem::invalid(name, format!("it is not a whole number from {least} to {most}")))
            }
        }
    }

    /// Takes a parameter that is true or false; false where it is not there.
    pub(crate) fn take_flag(&mut self, name: &'static str) -> Result<bool, Problem> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::invalid(name, "it is neither true nor false")),
        }
    }

    /// Refuses what nobody has taken: a misspelt filter must not mean everything.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let known = match self.taken.as_slice() {
            [] => "there are none here".to_owned(),
            names => format!("use {}", names.join(", ")),
        };
        Err(Problem::invalid(name, format!("it is not a parameter of this operation; {known}")))
    }
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(outcome: Result<(), Problem>) -> String {
        outcome.unwrap_err().detail()
    }

    #[test]
    fn names_with_commas_plus_signs_and_slashes_arrive_whole() {
        let mut query = Query::parse("topic=a%2Cb%2Fc+d%2B&&user=").unwrap();
        assert_eq!(query.take("topic").as_deref(), Some("a,b/c d+"));
        assert_eq!(query.take("user").as_deref(), Some(""));
        query.finish().unwrap();
    }

    #[test]
    fn numbers_are_whole_and_within_bounds() {
        let number = |text: &str| Query::parse(text).unwrap().take_number("n", 1..=1_000);
        assert_eq!((number(""), number("n=1000")), (Ok(None), Ok(Some(1_000))));
        for bad in ["", "0", "1001", "-1", "%2B1", "1.0", "70000", "ten"] {
            assert!(number(&format!("n={bad}")).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_known_or_comes_twice_is_named() {
        let mut query = Query::parse("topik=a").unwrap();
        query.take("topic");
        query.take("user");
        assert_eq!(detail(query.finish()), "`topik`: it is not a parameter of this operation; use topic, user");
        let twice = Query::parse("a=1&a=2").unwrap_err().detail();
        assert_eq!(twice, "`a`: it is there more than once; give it once");
        assert_eq!(Query::parse("a=%FF").unwrap_err().detail(), "`a`: it is not UTF-8");
    }
}
