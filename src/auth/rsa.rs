//! RS256 by aws-lc-rs, with a private key in PEM.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use crate::auth::jwt::Signer;
use crate::error::{Error, Result};

/// Signs here, with an RSA key of 2,048 to 8,192 bits. A signature takes about a millisecond.
#[derive(Clone)]
pub struct RsaSigner {
    key: Arc<KeyPair>,
}

/// Never the key.
impl Debug for RsaSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaSigner").finish_non_exhaustive()
    }
}

impl RsaSigner {
    /// A key as OpenSSL writes it: `BEGIN PRIVATE KEY` (PKCS#8) or `BEGIN RSA PRIVATE KEY` (PKCS#1). Text around the block is
    /// passed over.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] for an encrypted key, another kind of key, a key of another length, or no key at all.
    pub fn from_pem(pem: &SecretString) -> Result<Self> {
        let text = pem.expose_secret();
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(Error::config("the private key is encrypted; decrypt it first, e.g. with openssl pkey"));
        }
        let unfit = |_| Error::config("the private key is not an RSA key of 2048 to 8192 bits");
        let key = if let Some(der) = block(text, "PRIVATE KEY")? {
            KeyPair::from_pkcs8(&der).map_err(unfit)?
        } else if let Some(der) = block(text, "RSA PRIVATE KEY")? {
            KeyPair::from_der(&der).map_err(unfit)?
        } else {
            return Err(Error::config("no private key in PEM was found; it begins with -----BEGIN PRIVATE KEY-----"));
        };
        Ok(Self { key: Arc::new(key) })
    }
}

#[async_trait]
impl Signer for RsaSigner {
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let signed = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| Error::config("the private key could not sign"))?;
        Ok(signature)
    }
}

/// The bytes of the first block of this label; `None` if there is none.
fn block(text: &str, label: &str) -> Result<Option<Vec<u8>>> {
    let Some((_, rest)) = text.split_once(&format!("-----BEGIN {label}-----")) else {
        return Ok(None);
    };
    let broken = || Error::config("the private key's PEM block is broken");
    let (inside, _) = rest.split_once(&format!("-----END {label}-----")).ok_or_else(broken)?;
    let packed: String = inside.split_whitespace().collect();
    STANDARD.decode(packed).map(Some).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use futures_util::FutureExt;

    fn pem(label: &str, der: &[u8]) -> SecretString {
        let body = STANDARD.encode(der);
        let lines: Vec<String> = body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        SecretString::from(format!("a comment\n-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")))
    }

    #[test]
    fn both_forms_of_a_key_sign_the_same() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let pkcs8 = pkcs8.as_ref();
        // PKCS#8 wraps PKCS#1: the octet string at its end, after version and algorithm, of 26 bytes for a key of this size.
        let pkcs1 = &pkcs8[26..];
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref().to_vec());
        let mut signatures = Vec::new();
        for pem in [pem("PRIVATE KEY", pkcs8), pem("RSA PRIVATE KEY", pkcs1)] {
            let signer = RsaSigner::from_pem(&pem).unwrap();
            assert_eq!(format!("{signer:?}"), "RsaSigner { .. }");
            let signature = signer.sign(b"header.claims").now_or_never().unwrap().unwrap();
            public.verify(b"header.claims", &signature).unwrap();
            assert!(public.verify(b"header.claimz", &signature).is_err());
            signatures.push(signature);
        }
        assert_eq!(signatures[0], signatures[1]);
    }

    #[test]
    fn what_is_no_key_is_told() {
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nAAAA",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\n??\n-----END RSA PRIVATE KEY-----",
        ] {
            let error = RsaSigner::from_pem(&SecretString::from(text)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(!error.to_string().contains("AAAA"));
        }
    }
}
