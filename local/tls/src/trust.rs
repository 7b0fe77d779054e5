//! Files by which programs trust the authority.

use std::io;
use std::path::{Path, PathBuf};

use pem::Pem;
use tempfile::TempDir;

use super::authority::Authority;

/// The authority's certificate, alone and behind those that the system trusts. The files go when this is dropped.
#[derive(Debug)]
pub struct Trust {
    _folder: TempDir,
    authority: PathBuf,
    bundle: PathBuf,
}

impl Trust {
    /// Writes the files to a temporary folder. What the system trusts is what `SSL_CERT_FILE` and `SSL_CERT_DIR` of this
    /// program say, else its own store.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn new(authority: &Authority) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tidings-").tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let (alone, bundle) = (path("authority.pem"), path("bundle.pem"));
        let system = rustls_native_certs::load_native_certs().certs;
        let mut all: String = system.iter().map(|one| pem::encode(&Pem::new("CERTIFICATE", one.to_vec()))).collect();
        all.push_str(authority.pem());
        std::fs::write(&alone, authority.pem())?;
        std::fs::write(&bundle, all)?;
        Ok(Self { _folder: folder, authority: alone, bundle })
    }

    /// The authority's certificate alone, for programs that add it to what they trust (`NODE_EXTRA_CA_CERTS`).
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// All certificates, for programs that trust what is in a file and nothing else (`SSL_CERT_FILE`, `AWS_CA_BUNDLE`).
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn what_the_system_trusts_stays_trusted_and_the_files_go_in_the_end() {
        let authority = Authority::new().unwrap();
        let trust = Trust::new(&authority).unwrap();
        let read = |path: &Path| -> Vec<CertificateDer<'static>> {
            CertificateDer::pem_file_iter(path).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let mut expected = rustls_native_certs::load_native_certs().certs;
        expected.extend(read(trust.authority()));
        assert_eq!(read(trust.bundle()), expected);
        assert_eq!(std::fs::read_to_string(trust.authority()).unwrap(), authority.pem());
        let folder = trust.bundle().parent().unwrap().to_owned();
        drop(trust);
        assert!(!folder.exists());
    }
}
