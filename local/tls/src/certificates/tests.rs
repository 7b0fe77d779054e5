use std::net::{Ipv4Addr, Ipv6Addr};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;

/// A client that trusts the authority and nobody else.
fn client(authority: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

/// The certificate that a client accepts for a name.
async fn accepted(tls: &Tls, client: &TlsConnector, name: &str, reached: IpAddr) -> io::Result<Vec<u8>> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (server, client) = tokio::join!(tls.accept(far, reached), client.connect(name, near));
    let client = client?;
    server?;
    Ok(client.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_gets_a_certificate_for_whatever_it_asks_for() {
    let authority = Authority::new().unwrap();
    let client = client(&authority);
    let tls = Tls::new(authority).unwrap();
    let reached = IpAddr::from(Ipv4Addr::new(192, 0, 2, 7));
    let mut seen = Vec::new();
    for name in [
        "localhost",
        "host.docker.internal",
        "abcdef1234.execute-api.us-east-1.amazonaws.com",
        "127.0.0.1",
        "::1",
        "192.0.2.7",
    ] {
        let certificate =
            accepted(&tls, &client, name, reached).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        seen.push(certificate);
    }
    // An address is not asked for by name: all clients that reach one get the same certificate.
    assert!(seen[3] == seen[4] && seen[4] == seen[5]);
    assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[2] != seen[3]);
    let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().into();
    assert_eq!(accepted(&tls, &client, "192.0.2.7", mapped).await.unwrap(), seen[5]);
    let refused = accepted(&tls, &client, "192.0.2.8", Ipv6Addr::LOCALHOST.into()).await.unwrap_err();
    assert!(refused.to_string().contains("certificate not valid for name"), "{refused}");
}

#[tokio::test]
async fn a_client_that_does_not_know_the_authority_refuses() {
    let client = client(&Authority::new().unwrap());
    let tls = Tls::new(Authority::new().unwrap()).unwrap();
    let refused = accepted(&tls, &client, "localhost", Ipv4Addr::LOCALHOST.into()).await.unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer") || refused.to_string().contains("invalid"), "{refused}");
}

#[test]
fn certificates_are_made_again_in_time_and_never_last_longer_than_the_authority() {
    let authority = Authority::new().unwrap();
    let ends = authority.ends;
    let tls = Tls::new(authority).unwrap();
    let now = OffsetDateTime::now_utc();
    let first = tls.0.config("localhost", now).unwrap();
    let same = |at| Arc::ptr_eq(&first, &tls.0.config("localhost", at).unwrap());
    assert!(same(now + RENEWAL - Duration::seconds(1)));
    assert!(!same(now + RENEWAL));
    tls.0.config("late.example", ends - Duration::days(1)).unwrap();
}

#[test]
fn clients_cannot_fill_the_memory_with_names() {
    let tls = Tls::new(Authority::new().unwrap()).unwrap();
    let now = OffsetDateTime::now_utc();
    for number in 0..=MOST_NAMES {
        tls.0.config(&format!("{number}.example"), now).unwrap();
    }
    assert_eq!(tls.0.made.lock().unwrap().len(), 1);
}
