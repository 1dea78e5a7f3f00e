//! TLS towards an upstream: own authorities, client certificates, none at all; real handshakes.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::server::{TestServer, answer, answer_with};
use super::{client, get, mirror_of};
use crate::clock::Fake;
use crate::config::Mirror;
use crate::telemetry::Metrics;
use crate::upstream::{BuildError, Client, Error, InstanceId};

/// A certificate authority nobody knows, and a folder for its files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate"),
            directory: tempfile::tempdir().expect("room for a directory"),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.directory.path().join(name);
        std::fs::write(&file, text).expect("the test's own directory");
        file
    }

    fn file(&self) -> PathBuf {
        self.write("ca.pem", &self.issuer.pem())
    }

    fn certify(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer);
        (certificate.expect("a certificate"), key)
    }

    /// Returns the files of a client certificate and its key.
    fn client(&self) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.certify("seawall.example");
        (
            self.write("client.pem", &certificate.pem()),
            self.write("client.key", &key.serialize_pem()),
        )
    }

    /// Returns how a server at 127.0.0.1 speaks TLS that asks for certificates of `clients`.
    fn server(&self, clients: Option<&Self>) -> ServerConfig {
        let (certificate, key) = self.certify("127.0.0.1");
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let builder = ServerConfig::builder();
        let builder = match clients {
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                let root: CertificateDer<'static> = clients.issuer.der().clone();
                roots.add(root).expect("an authority");
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
            None => builder.with_no_client_auth(),
        };
        builder
            .with_single_cert(chain, key)
            .expect("a certificate with its key")
    }
}

async fn server(authority: &Authority, clients: Option<&Authority>) -> TestServer {
    let tls = authority.server(clients);
    TestServer::start_with_tls(tls, |_| answer(200, "manifest")).await
}

fn made(mirror: &Mirror) -> Result<Client, BuildError> {
    let clock = Arc::new(Fake::at(0));
    Client::new(mirror, Metrics::new(), clock, &InstanceId::new())
}

#[tokio::test]
async fn an_unknown_authority_is_believed_only_when_the_mirror_names_it() {
    let authority = Authority::new();
    let server = server(&authority, None).await;
    let mut mirror = mirror_of(&[&server.url]);
    let unknown = get(&client(&mirror)).await;
    assert!(
        matches!(unknown, Err(Error::Unavailable { .. })),
        "{unknown:?}"
    );
    let other = Authority::new();
    mirror.tls.ca = Some(other.file());
    get(&client(&mirror)).await.expect_err("another authority");
    mirror.tls.ca = Some(authority.file());
    let known = get(&client(&mirror)).await;
    assert_eq!(known, Ok(Bytes::from_static(b"manifest")));
}

#[tokio::test]
async fn any_certificate_is_believed_by_explicit_word_and_of_the_endpoint_alone() {
    let authority = Authority::new();
    let storage = server(&authority, None).await;
    let target = storage.url.to_string();
    let registry = TestServer::start_with_tls(authority.server(None), move |asked| {
        if asked.uri.path().ends_with("/moved") {
            return answer_with(307, "location", target.clone(), "");
        }
        answer(200, "manifest")
    })
    .await;
    let mut mirror = mirror_of(&[&registry.url]);
    mirror.tls.insecure = true;
    let client = client(&mirror);
    get(&client).await.expect("any certificate will do");
    let moved = oci::Reference::parse("moved").expect("a reference");
    let moved = super::ask(&client)
        .get_manifest(&super::repository(), &moved, 1024)
        .await;
    assert!(matches!(moved, Err(Error::Unavailable { .. })), "{moved:?}");
    assert_eq!(storage.asked().len(), 0);
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_an_endpoint_that_asks_for_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = server(&authority, Some(&clients)).await;
    let mut mirror = mirror_of(&[&server.url]);
    mirror.tls.ca = Some(authority.file());
    get(&client(&mirror)).await.expect_err("nothing was shown");
    mirror.tls.identity = Some(authority.client());
    get(&client(&mirror))
        .await
        .expect_err("of another authority");
    mirror.tls.identity = Some(clients.client());
    let known = get(&client(&mirror)).await;
    assert_eq!(known, Ok(Bytes::from_static(b"manifest")));
}

#[tokio::test]
async fn a_client_certificate_is_not_shown_to_those_an_endpoint_leads_to() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let storage = server(&authority, Some(&clients)).await;
    let target = storage.url.to_string();
    let moved = move |_: &_| answer_with(307, "location", target.clone(), "");
    let registry = TestServer::start_with_tls(authority.server(Some(&clients)), moved).await;
    let mut mirror = mirror_of(&[&registry.url]);
    mirror.tls.ca = Some(authority.file());
    mirror.tls.identity = Some(clients.client());
    let result = get(&client(&mirror)).await;
    assert!(matches!(result, Err(Error::Failing { .. })), "{result:?}");
    assert_eq!((registry.asked().len(), storage.asked().len()), (1, 0));
}

#[test]
fn files_that_cannot_be_used_are_named_by_their_key_and_not_by_their_path() {
    let authority = Authority::new();
    let nothing = authority.write("nothing.pem", "nothing");
    let missing = authority.directory.path().join("missing.pem");
    let url = url::Url::parse("https://registry.example").expect("a URL");
    let with = |change: &dyn Fn(&mut Mirror)| {
        let mut mirror = mirror_of(&[&url]);
        change(&mut mirror);
        made(&mirror).expect_err("unusable").to_string()
    };
    let said = "mirror registry.example: tls.ca holds no PEM certificates";
    assert_eq!(with(&|mirror| mirror.tls.ca = Some(nothing.clone())), said);
    let said = "mirror registry.example: tls.ca cannot be read";
    assert_eq!(with(&|mirror| mirror.tls.ca = Some(missing.clone())), said);
    let (certificate, _) = authority.client();
    let identity = Some((certificate, nothing.clone()));
    let said = with(&|mirror| mirror.tls.identity.clone_from(&identity));
    assert!(said.contains("tls.certificate and tls.key"), "{said}");
}
