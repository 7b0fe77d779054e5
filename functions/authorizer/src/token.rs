//! A token: who signed it, and whether it is still good.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tidings::metrics::Recorder;

use crate::claims::{Claims, LEEWAY, Rules};
use crate::keys::{Key, KeySet, Keys};
use crate::{Denial, Refused};

/// API Gateway takes 10 KB of headers and 8 KB of query; a longer token cannot come whole.
const LONGEST: usize = 8 * 1024;

/// Longest part of a name out of a token that is logged.
const SHOWN: usize = 64;

/// A token of which only the header was looked at.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    text: &'a str,
    header: Header,
    /// Whether it need not end.
    may_last: bool,
    /// By how many seconds clocks may differ.
    leeway: u64,
}

/// What one set of keys says to a token.
enum Verdict {
    Good(Claims),
    Bad(Denial),
    /// Bad, unless there are newer keys.
    Unknown(Denial),
}

/// What one key says to a token.
enum Problem {
    /// It did not sign it.
    Signature,
    /// It did, and the token is not good.
    Claims(Denial),
}

/// What the log says of a token that was refused: not verified, cut short, and free of anything but printable ASCII.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) key_id: String,
    pub(crate) issuer: String,
}

pub(crate) fn shown(token: &str) -> Shown {
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Map<String, Value>>(token).unwrap_or_default();
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    let key_id = decode_header(token).ok().and_then(|header| header.kid).unwrap_or_default();
    Shown { key_id: harmless(&key_id), issuer: harmless(issuer) }
}

fn harmless(text: &str) -> String {
    text.chars().map(|character| if character.is_ascii_graphic() { character } else { '?' }).take(SHOWN).collect()
}

impl<'a> Unverified<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, Denial> {
        if text.len() > LONGEST {
            return Err(bad("is longer than 8 KB"));
        }
        let header = decode_header(text).map_err(|error| match error.kind() {
            ErrorKind::InvalidToken => bad("does not have three parts"),
            ErrorKind::Base64(_) => bad("has a header that is not base64url"),
            _ => bad("has a header that is not JSON, or an algorithm that is not known"),
        })?;
        if header.crit.is_some() {
            return Err(bad("has a critical extension (crit), and none is known here"));
        }
        Ok(Self { text, header, may_last: false, leeway: LEEWAY })
    }

    /// The same, which need not say when it ends: a server of another product made it.
    pub(crate) fn lasting(self) -> Self {
        Self { may_last: true, ..self }
    }

    /// The same, where clocks may differ by so many seconds.
    pub(crate) fn with_leeway(self, leeway: u64) -> Self {
        Self { leeway, ..self }
    }

    /// What the token says, once it is known that an issuer's key signed it and that it is for us and for now.
    pub(crate) async fn verify(&self, keys: &Keys, rules: &Rules, recorder: &Recorder) -> Result<Claims, Refused> {
        let current = keys.current(recorder).await?;
        match self.judge(&current, rules) {
            Verdict::Good(claims) => Ok(claims),
            Verdict::Bad(denial) => Err(denial.into()),
            Verdict::Unknown(denial) => match keys.newer(&current, recorder).await? {
                None => Err(denial.into()),
                Some(newer) => match self.judge(&newer, rules) {
                    Verdict::Good(claims) => Ok(claims),
                    Verdict::Bad(denial) | Verdict::Unknown(denial) => Err(denial.into()),
                },
            },
        }
    }

    fn judge(&self, keys: &KeySet, rules: &Rules) -> Verdict {
        let named = keys.named(self.header.kid.as_deref());
        if named.is_empty() {
            return Verdict::Unknown(bad("names a key that the issuer does not have, or names none of several"));
        }
        // The key says what it is for, never the token.
        let fitting: Vec<_> = named.into_iter().filter(|key| key.algorithm == self.header.alg).collect();
        if fitting.is_empty() {
            return Verdict::Bad(bad("names an algorithm that its key is not for"));
        }
        // Keys that tokens do not name can be replaced without a token showing it.
        let is_named = self.header.kid.is_some() && fitting.iter().all(|key| key.id.is_some());
        for key in fitting {
            match self.check(key, rules) {
                Err(Problem::Signature) => {}
                Err(Problem::Claims(denial)) => return Verdict::Bad(denial),
                Ok(claims) => return Verdict::Good(claims),
            }
        }
        let denial = bad("has a signature that no key of the issuer makes");
        if is_named { Verdict::Bad(denial) } else { Verdict::Unknown(denial) }
    }

    fn check(&self, key: &Key, rules: &Rules) -> Result<Claims, Problem> {
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = self.leeway;
        validation.validate_nbf = true;
        // `Claims` looks at `iss` and `aud`: here a list would do for an issuer, and `aud` is not the only place where a
        // token can name whom it is for.
        validation.validate_aud = false;
        validation.set_required_spec_claims(if self.may_last { &[][..] } else { &["exp"] });
        let token = decode::<Map<String, Value>>(self.text, &key.key, &validation);
        let claims = Claims::new(token.map_err(|error| problem(error.kind()))?.claims);
        claims.check(rules, jsonwebtoken::get_current_timestamp(), self.leeway).map_err(Problem::Claims)?;
        Ok(claims)
    }
}

fn bad(problem: &str) -> Denial {
    Denial::Token(problem.to_owned())
}

fn problem(kind: &ErrorKind) -> Problem {
    Problem::Claims(match kind {
        ErrorKind::InvalidSignature => return Problem::Signature,
        ErrorKind::ExpiredSignature => Denial::Time("has expired (exp)"),
        ErrorKind::ImmatureSignature => Denial::Time("is not valid yet (nbf)"),
        ErrorKind::MissingRequiredClaim(name) => Denial::Token(format!("has no {name}, or one of another type")),
        ErrorKind::InvalidClaimFormat(name) => Denial::Token(format!("has a {name} of another type than it should be")),
        ErrorKind::Base64(_) => bad("has a part that is not base64url"),
        ErrorKind::Json(_) => bad("has claims that are not a JSON object"),
        ErrorKind::Utf8(_) => bad("has claims that are not UTF-8"),
        ErrorKind::InvalidToken => bad("does not have three parts"),
        _ => bad("is not one that can be verified"),
    })
}
