//! Tokens for clients, which otherwise servers make themselves.

use serde_json::{Map, Value, json};
use tidings::metrics::Recorder;
use tidings_authorizer::WebPubSubKey;

use super::Call;
use super::failure::Failure;
use super::operation::group_of;
use super::parameters::Parameters;
use super::recipients::now;
use crate::response::Response;

/// How long a token is good where the caller does not say, in minutes.
const LIFETIME: u32 = 60;
/// Longest life of one: what fits into 32 bits with a sign.
const LONGEST: u32 = i32::MAX.unsigned_abs();
/// The only kind of client that there is here.
const KIND: &str = "default";

impl Call<'_> {
    pub(super) async fn generate_token(
        &self,
        key: &WebPubSubKey,
        parameters: &mut Parameters,
        recorder: &Recorder,
    ) -> Result<Response, Failure> {
        let claims = self.claims(parameters)?;
        let token = key.sign(&claims, recorder).await.map_err(|error| Failure::internal(&error))?;
        Ok(Response::json(200, &json!({"token": token})))
    }

    fn claims(&self, parameters: &mut Parameters) -> Result<Map<String, Value>, Failure> {
        let minutes = parameters.take_number("minutesToExpire", 1..=LONGEST)?.unwrap_or(LIFETIME);
        let user = parameters.take("userId")?;
        let (roles, groups) = (parameters.take_all("role"), parameters.take_all("group"));
        if parameters.take("clientType")?.is_some_and(|kind| !kind.eq_ignore_ascii_case(KIND)) {
            return Err(Failure::bad_request(
                "clientType",
                "give Default; there are no clients of MQTT and Socket.IO here",
            ));
        }
        groups.iter().try_for_each(|group| group_of(&self.hub, group).map(drop))?;
        let now = now() / 1_000;
        let mut claims = Map::new();
        claims.insert("aud".to_owned(), format!("{}/client/hubs/{}", self.address.root(), self.hub).into());
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), (now + i64::from(minutes) * 60).into());
        claims.extend(user.map(|user| ("sub".to_owned(), Value::from(user))));
        for (name, values) in [("role", roles), ("webpubsub.group", groups)] {
            if !values.is_empty() {
                claims.insert(name.to_owned(), values.into());
            }
        }
        Ok(claims)
    }
}
