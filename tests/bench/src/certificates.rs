//! A certificate authority for one run, and what a client needs to trust it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Result;

/// Where systems keep the certificates that they trust in one file: Debian's place, and that of Amazon Linux.
const SYSTEM: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// A server's side of TLS.
pub(crate) struct Certificates {
    pub(crate) acceptor: TlsAcceptor,
    /// The authority's certificate alone.
    pub(crate) authority: PathBuf,
    /// The system's certificates and the authority's: as long to read as what a function finds in Lambda.
    pub(crate) bundle: PathBuf,
}

impl Certificates {
    /// Makes an authority and a certificate for `localhost` in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        // Its name must differ from the server's, or clients take that for an authority of its own.
        params.distinguished_name.push(DnType::CommonName, "Tidings bench");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &authority)?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        let system = SYSTEM.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let (alone, bundle) = (folder.join("authority.pem"), folder.join("bundle.pem"));
        std::fs::write(&alone, authority.pem())?;
        std::fs::write(&bundle, system + &authority.pem())?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority: alone, bundle })
    }
}
