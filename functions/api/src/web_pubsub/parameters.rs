//! Query strings as Azure reads them: names in any case, some more than once, and what nobody knows is passed over.

use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;

use super::failure::Failure;

/// The versions of the API that are understood. All that is here is the same in each.
const VERSIONS: [&str; 5] = ["2021-10-01", "2022-11-01", "2023-07-01", "2024-01-01", "2024-12-01"];
/// The newest of them.
pub(super) const VERSION: &str = "2024-12-01";

/// The parameters of a call.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(query: &str) -> Result<Self, Failure> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?.to_ascii_lowercase(), decoded(value)?))
        });
        let pairs = pairs.collect::<Option<_>>();
        pairs.map(Self).ok_or_else(|| Failure::bad_request("query", "it is not UTF-8"))
    }

    /// Takes a parameter that may be there once. One that is empty is as good as none.
    pub(super) fn take(&mut self, name: &'static str) -> Result<Option<String>, Failure> {
        let mut all = self.take_all(name);
        match all.len() {
            0 | 1 => Ok(all.pop().filter(|value| !value.is_empty())),
            _ => Err(Failure::bad_request(name, "it is there more than once; give it once")),
        }
    }

    /// Takes all values of a parameter.
    pub(super) fn take_all(&mut self, name: &'static str) -> Vec<String> {
        let name = name.to_ascii_lowercase();
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(known, _)| *known == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// Takes a whole number within bounds. One that is there and empty is none.
    pub(super) fn take_number(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Failure> {
        let mut all = self.take_all(name);
        let (Some(text), true) = (all.pop(), all.is_empty()) else {
            return match all.is_empty() {
                true => Ok(None),
                false => Err(Failure::bad_request(name, "it is there more than once; give it once")),
            };
        };
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| is_plain && bounds.contains(number));
        let (least, most) = bounds.into_inner();
        number
            .map(Some)
            .ok_or_else(|| Failure::bad_request(name, format!("give a whole number from {least} to {most}")))
    }

    /// Refuses a version of the API that is not known.
    pub(super) fn check_version(&mut self) -> Result<(), Failure> {
        match self.take_all("api-version").as_slice() {
            [] => Ok(()),
            [version] if VERSIONS.contains(&version.as_str()) => Ok(()),
            _ => Err(Failure::bad_request("api-version", format!("give one of {}", VERSIONS.join(", ")))),
        }
    }
}

/// Names and values of a query string in an order that says nothing, to compare two of them.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (lossy(name), lossy(value))
    });
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    pairs
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(Into::into)
}

fn lossy(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Parameters {
        Parameters::parse(query).unwrap()
    }

    #[test]
    fn names_have_any_case_and_some_come_more_than_once() {
        let mut parameters = parse("Excluded=a%2Fb&excluded=c+d&other=1&filter=");
        assert_eq!(parameters.take_all("excluded"), ["a/b", "c d"]);
        assert_eq!(parameters.take("filter").unwrap(), None);
        assert!(parse("reason=a&reason=b").take("reason").is_err());
        assert!(Parameters::parse("a=%FF").is_err());
    }

    #[test]
    fn numbers_are_plain_and_within_bounds() {
        let number = |query: &str| parse(query).take_number("n", 0..=300).map_err(|_| ());
        assert_eq!((number(""), number("N=300"), number("n=0")), (Ok(None), Ok(Some(300)), Ok(Some(0))));
        for bad in ["n=", "n=301", "n=-1", "n=%2B1", "n=1.0", "n=99999999999", "n=1&n=1"] {
            assert_eq!(number(bad), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_version_is_one_that_is_known_or_none() {
        for version in VERSIONS {
            parse(&format!("api-version={version}")).check_version().unwrap();
        }
        parse("").check_version().unwrap();
        assert!(VERSIONS.contains(&VERSION));
        for bad in ["api-version=", "api-version=2020-01-01", "api-version=2024-12-01&Api-Version=2024-12-01"] {
            assert!(parse(bad).check_version().is_err(), "{bad}");
        }
    }
}
