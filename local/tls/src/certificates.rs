//! Certificates for the names that clients ask for, made when they are asked for, and never written down.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::authority::{Authority, AuthorityError, SKEW, serial};

/// How long a certificate is good, and after how long another one is made.
const LIFETIME: Duration = Duration::days(30);
const RENEWAL: Duration = Duration::days(15);
/// So many names are remembered; who asks for more has them made again.
const MOST_NAMES: usize = 256;
/// What every certificate is for, beside the name that was asked for.
const ALWAYS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A server's side of TLS. Clones share it.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    authority: Authority,
    /// The key of all certificates; it ends with the program.
    key: KeyPair,
    provider: Arc<CryptoProvider>,
    made: Mutex<HashMap<String, Made>>,
}

#[derive(Debug, Clone)]
struct Made {
    config: Arc<ServerConfig>,
    renewal: OffsetDateTime,
}

impl Tls {
    /// A server whose certificates this authority signs.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(authority: Authority) -> Result<Self, AuthorityError> {
        let (key, provider) = (KeyPair::generate()?, Arc::new(ring::default_provider()));
        Ok(Self(Arc::new(Shared { authority, key, provider, made: Mutex::default() })))
    }

    /// Shakes hands with a client, for the name that it asks for (SNI), else for the address at which it `reached` this
    /// machine. It waits for the client as long as the client likes.
    ///
    /// # Errors
    /// When the client goes away or does not speak TLS 1.2 or 1.3.
    pub async fn accept<S>(&self, stream: S, reached: IpAddr) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = hello.client_hello().server_name().map(str::to_ascii_lowercase);
        let name = name.unwrap_or_else(|| reached.to_canonical().to_string());
        let config = self.0.config(&name, OffsetDateTime::now_utc()).map_err(io::Error::other)?;
        hello.into_stream(config).await
    }
}

/// Why a name gets no certificate.
#[derive(Debug, thiserror::Error)]
enum NameError {
    #[error("no certificate can be made")]
    Made(#[from] rcgen::Error),
    #[error("a certificate that was just made is of no use")]
    Used(#[from] rustls::Error),
}

impl Shared {
    fn config(&self, name: &str, now: OffsetDateTime) -> Result<Arc<ServerConfig>, NameError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(name).filter(|known| now < known.renewal) {
            return Ok(Arc::clone(&known.config));
        }
        if made.len() >= MOST_NAMES {
            made.clear();
        }
        let config = Arc::new(self.make(name, now)?);
        made.insert(name.to_owned(), Made { config: Arc::clone(&config), renewal: now + RENEWAL });
        Ok(config)
    }

    fn make(&self, name: &str, now: OffsetDateTime) -> Result<ServerConfig, NameError> {
        let others = ALWAYS.iter().filter(|always| **always != name).map(|always| (*always).to_owned());
        let mut params = CertificateParams::new(std::iter::once(name.to_owned()).chain(others).collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Tidings gateway on this machine");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        (params.not_before, params.not_after) = (now - SKEW, (now + LIFETIME).min(self.authority.ends));
        let certificate = params.signed_by(&self.key, &self.authority.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
