//! Tokens, signed with a stack's own secret as its authorizer wants them (`Authentication=hs256`).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// A JSON web token with these claims.
#[must_use]
pub fn sign(secret: &[u8], claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let content = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), content.as_bytes());
    format!("{content}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_over_its_header_and_claims() {
        // The key of RFC 7515, appendix A.1; the signature is another program's.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = BASE64_URL_SAFE_NO_PAD.decode(key).unwrap();
        let token = sign(&key, &json!({"sub": "u1"}));
        let (content, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(content, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1MSJ9");
        assert_eq!(signature, "SUhXAKn3LKQx71lE2lFowNzjVn2OVffnwXBsOOcK53c");
    }
}
