//! Events: the application's actions.

use serde_json::{Map, Value, json};
use tidings::notification::Payload;
use tidings::protocol::web_pubsub::{self, AckError, ErrorName, Event};

use super::{Sender, Undone, failed};
use crate::actions::Reply;

impl<S: 'static> Sender<'_, S> {
    /// Has the action of the event's name carried out. What it answers is a message from the server, before the ack.
    pub(super) async fn event(&self, event: Event) -> Result<(), Undone> {
        let reply = self.act(event).await?;
        let Some(data) = reply.data() else { return Ok(()) };
        let sent = self.commands.services.sockets.send(&self.connection.socket, web_pubsub::reply(data)).await;
        sent.map_err(|error| failed(&error))
    }

    /// What the action of the event's name answers.
    pub(super) async fn act(&self, event: Event) -> Result<Reply, Undone> {
        let Ok(action) = self.commands.actions.of(&event.name) else {
            let message = format!("nothing here handles the event {:?}", event.name);
            return Err(AckError::new(ErrorName::InternalServerError, message).into());
        };
        let done = action(self.commands.context(self.frame), body(event.payload)).await;
        done.map_err(|error| error.into_client().map_or_else(|error| failed(error.as_ref()), Undone::from))
    }
}

/// The fields that an action reads: those of a JSON object, else `data`, and `dataType` where that is none of JSON.
fn body(payload: Payload) -> Map<String, Value> {
    let (data, kind) = match payload {
        // A `RawValue` is well-formed JSON by construction.
        Payload::Json(data) => match serde_json::from_str(data.get()).unwrap_or_default() {
            Value::Object(fields) => return fields,
            data => (data, None),
        },
        Payload::Text(text) => (Value::String(text), Some("text")),
        Payload::Binary(text) => (Value::String(text), Some("binary")),
    };
    let fields = [("data".to_owned(), data)].into_iter();
    fields.chain(kind.map(|kind| ("dataType".to_owned(), json!(kind)))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn an_action_gets_the_fields_of_an_object_and_all_else_as_data() {
        let json = |text: &str| Value::Object(body(Payload::Json(RawValue::from_string(text.to_owned()).unwrap())));
        assert_eq!(json(r#"{"room":"a","data":1}"#), json!({"room": "a", "data": 1}));
        assert_eq!(json("[1]"), json!({"data": [1]}));
        assert_eq!(Value::Object(body(Payload::Text("hi".into()))), json!({"data": "hi", "dataType": "text"}));
        let binary = Value::Object(body(Payload::Binary("AQID".into())));
        assert_eq!(binary, json!({"data": "AQID", "dataType": "binary"}));
    }
}
