//! The authority: a key and the certificate that users trust, kept in a folder that only its user can read.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use yasna::models::{GeneralizedTime, UTCTime};
use yasna::{ASN1Result, BERReaderSeq};

/// The file of the certificate in an authority's folder.
pub const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// How every authority is called. Certificates name who has signed them by it, so authorities that are kept depend on it.
const NAME: &str = "Tidings on this machine";

/// How long an authority is good: whoever trusts it does so by hand, and should not have to every year.
const LIFETIME: Duration = Duration::days(10 * 365);
/// One that ends within this time is replaced.
const RENEWAL: Duration = Duration::days(60);
/// How far the clock of whoever checks a certificate may be behind.
pub(super) const SKEW: Duration = Duration::hours(1);

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The files cannot be read or written.
    #[error("the authority for TLS in {} cannot be read or written", folder.display())]
    Files {
        /// Where they are.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The files are no authority.
    #[error("the authority for TLS in {} is broken: {reason}; remove the folder, and a new one is made", folder.display())]
    Broken {
        /// Where they are.
        folder: PathBuf,
        /// One clause.
        reason: String,
    },
    /// A key or a certificate cannot be made.
    #[error("no certificate can be made")]
    Made(#[from] rcgen::Error),
}

/// Signs the certificates of the local gateway.
#[derive(Debug)]
pub struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pem: String,
    pub(super) ends: OffsetDateTime,
}

/// What is to be known of a certificate that was kept.
struct Kept {
    ends: OffsetDateTime,
    /// The public key, with its algorithm.
    key: Vec<u8>,
}

/// Where the authority of this user is kept, below the data folder of the XDG rules (`%APPDATA%` on Windows). `None` where
/// the user has no home.
#[must_use]
pub fn folder_of_user() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.data_dir().join("tidings").join("authority"))
}

impl Authority {
    /// A new one, which is kept nowhere.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, AuthorityError> {
        let now = OffsetDateTime::now_utc();
        Ok(Self::lasting(now, LIFETIME)?.0)
    }

    /// The one in a folder. Where there is none, or its end is near, a new one is made and kept there; of several programs
    /// that do so at once, all get the same.
    ///
    /// # Errors
    /// When the folder cannot be used, or what is in it is no authority.
    pub fn kept_in(folder: &Path) -> Result<Self, AuthorityError> {
        Self::kept_at(folder, OffsetDateTime::now_utc())
    }

    fn kept_at(folder: &Path, now: OffsetDateTime) -> Result<Self, AuthorityError> {
        let files = |source| AuthorityError::Files { folder: folder.to_owned(), source };
        let kept = Self::read(folder)?;
        let is_late = kept.is_some();
        if let Some(kept) = kept.filter(|kept| kept.ends - now > RENEWAL) {
            return Ok(kept);
        }
        let (authority, key) = Self::lasting(now, LIFETIME)?;
        if put(folder, &authority.pem, &key, is_late).map_err(files)? {
            return Ok(authority);
        }
        Self::read(folder)?.ok_or_else(|| broken(folder, format!("it has no {KEY}")))
    }

    /// The certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A new authority, and its key.
    fn lasting(now: OffsetDateTime, lifetime: Duration) -> Result<(Self, String), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = params()?;
        params.serial_number = Some(serial());
        (params.not_before, params.not_after) = (now - SKEW, now + lifetime);
        let ends = params.not_after;
        let (pem, text) = (params.self_signed(&key)?.pem(), key.serialize_pem());
        Ok((Self { issuer: Issuer::new(params, key), pem, ends }, text))
    }

    /// The one in a folder, if one is there.
    fn read(folder: &Path) -> Result<Option<Self>, AuthorityError> {
        let files = |source| AuthorityError::Files { folder: folder.to_owned(), source };
        let path = folder.join(KEY);
        let key = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            key => key.map_err(files)?,
        };
        shut(&path).map_err(files)?;
        let pem = fs::read_to_string(folder.join(CERTIFICATE)).map_err(files)?;
        Self::parsed(pem, &key).map(Some).map_err(|reason| broken(folder, reason))
    }

    fn parsed(pem: String, key: &str) -> Result<Self, String> {
        let no_certificate = |error: &dyn std::error::Error| format!("{CERTIFICATE} has no certificate ({error})");
        let key = KeyPair::from_pem(key).map_err(|error| format!("{KEY} has no key ({error})"))?;
        let block = pem::parse(&pem).map_err(|error| no_certificate(&error))?;
        let kept = Kept::read(block.contents()).map_err(|error| no_certificate(&error))?;
        if kept.key != key.subject_public_key_info() {
            return Err(format!("{KEY} is not the key of {CERTIFICATE}"));
        }
        let params = params().map_err(|error| error.to_string())?;
        Ok(Self { issuer: Issuer::new(params, key), pem, ends: kept.ends })
    }
}

impl Kept {
    /// Reads a certificate (RFC 5280, section 4.1).
    fn read(der: &[u8]) -> ASN1Result<Self> {
        yasna::parse_der(der, |reader| {
            reader.read_sequence(|parts| {
                let kept = parts.next().read_sequence(Self::signed)?;
                skip(parts, 2)?;
                Ok(kept)
            })
        })
    }

    /// What is signed of a certificate: version, number, algorithm and issuer; the times; the subject; the key; extensions.
    fn signed(parts: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Self> {
        skip(parts, 4)?;
        let ends = parts.next().read_sequence(|times| {
            skip(times, 1)?;
            let der = times.next().read_der()?;
            let short = yasna::parse_der(&der, |time| time.read_utctime()).map(|time| *UTCTime::datetime(&time));
            let long = || yasna::parse_der(&der, |time| time.read_generalized_time());
            short.or_else(|_| long().map(|time| *GeneralizedTime::datetime(&time)))
        })?;
        skip(parts, 1)?;
        let key = parts.next().read_der()?;
        skip(parts, 1)?;
        Ok(Self { ends, key })
    }
}

/// Passes over so many parts of a sequence.
fn skip(parts: &mut BERReaderSeq<'_, '_>, count: usize) -> ASN1Result<()> {
    (0..count).try_for_each(|_| parts.next().read_der().map(drop))
}

/// What certificates of authorities have in common.
fn params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// No two certificates of an authority may have the same number, and browsers look.
pub(super) fn serial() -> rcgen::SerialNumber {
    rcgen::SerialNumber::from_slice(uuid::Uuid::new_v4().as_bytes())
}

fn broken(folder: &Path, reason: String) -> AuthorityError {
    AuthorityError::Broken { folder: folder.to_owned(), reason }
}

/// Puts both files into place at once, instead of those that are there if `replaces`. Says `false` where another program
/// was first.
fn put(folder: &Path, certificate: &str, key: &str, replaces: bool) -> io::Result<bool> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let made = beside(parent)?;
    fs::write(made.path().join(CERTIFICATE), certificate)?;
    write_secret(&made.path().join(KEY), key)?;
    // Removed at the end with what is in it.
    let former = beside(parent)?;
    if replaces {
        match fs::rename(folder, former.path().join("former")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::rename(made.path(), folder) {
        Ok(()) => {
            // It has another name now, and stays.
            let _ = made.keep();
            Ok(true)
        }
        Err(_) if folder.exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A folder of this user's alone, on the same file system.
fn beside(parent: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".authority-");
    if let Some(permissions) = only_own(0o700) {
        builder.permissions(permissions);
    }
    builder.tempdir_in(parent)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have no modes")]
fn only_own(mode: u32) -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(Permissions::from_mode(mode))
}

/// The data folder is this user's alone already.
#[cfg(not(unix))]
fn only_own(_: u32) -> Option<Permissions> {
    None
}

/// Writes a new file that only this user can read, and never could anybody else.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)?.write_all(text.as_bytes())
}

/// Takes from others what they may do with a file.
fn shut(path: &Path) -> io::Result<()> {
    match only_own(0o600) {
        Some(permissions) if fs::metadata(path)?.permissions() != permissions => fs::set_permissions(path, permissions),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
