//! TLS for all that is served, and what functions trust.

use std::path::PathBuf;

use tidings_local_tls::{Authority, CERTIFICATE, Tls, Trust};

use super::{DevError, DevOptions};

/// TLS for all that is served.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) tls: Tls,
    pub(super) trust: Trust,
    /// The authority's certificate, where people find it: in its folder if it is kept.
    pub(super) certificate: PathBuf,
}

impl Secured {
    /// With the kept authority; where that is of no use, with one for this run, and a warning.
    pub(super) fn new(options: &DevOptions) -> Result<Self, DevError> {
        let (authority, kept) = match options.authority.as_ref().map(|folder| (folder, Authority::kept_in(folder))) {
            Some((folder, Ok(authority))) => (authority, Some(folder)),
            Some((_, Err(error))) => {
                let why = tidings::describe(&error);
                options.logs.warn(&format!("{why}; so TLS has an authority that ends with this run"));
                (Authority::new()?, None)
            }
            None => (Authority::new()?, None),
        };
        let trust = Trust::new(&authority).map_err(DevError::Trust)?;
        let certificate = kept.map_or_else(|| trust.authority().to_owned(), |folder| folder.join(CERTIFICATE));
        Ok(Self { tls: Tls::new(authority)?, trust, certificate })
    }
}
