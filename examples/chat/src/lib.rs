//! A chat: rooms, names, and who is typing. A room is a topic, and lives as long as somebody listens to it.

use serde::Deserialize;
use serde_json::{Value, json};
use tidings::{Context, Error};
use tidings_default::Reply;

/// Longest text of one message, in characters.
const LONGEST: usize = 2_000;

#[derive(Deserialize)]
pub struct Room {
    pub room: String,
}

#[derive(Deserialize)]
pub struct Message {
    pub room: String,
    pub text: String,
    /// How somebody without a token who speaks another protocol wants to be called.
    pub name: Option<String>,
}

/// `{"action":"chat.join","room":"lobby","id":1}`: from now on the client gets what is said there.
pub async fn join(cx: Context, body: Room) -> Result<Reply, Error> {
    let topic = topic(&body.room)?;
    cx.subscribe(&topic).await?;
    tell(&cx, &topic, "chat.joined", json!({"name": name(&cx)})).await?;
    Ok(Reply::with(json!({"room": body.room, "name": name(&cx)})))
}

/// `{"action":"chat.leave","room":"lobby","id":2}`
pub async fn leave(cx: Context, body: Room) -> Result<(), Error> {
    let topic = topic(&body.room)?;
    cx.unsubscribe(&topic).await?;
    tell(&cx, &topic, "chat.left", json!({"name": name(&cx)})).await
}

/// `{"action":"chat.send","room":"lobby","text":"hello","id":3}`
pub async fn send(cx: Context, body: Message) -> Result<(), Error> {
    let text = body.text.trim();
    match text.chars().count() {
        0 => return Err(Error::new("NoText", "say something in `text`")),
        count if count > LONGEST => {
            return Err(Error::new(
                "TextTooLong",
                format!("`text` has {count} characters; {LONGEST} are allowed"),
            ));
        }
        _ => {}
    }
    let name = match cx.user() {
        Some(user) => user.as_str(),
        None => body.name.as_deref().unwrap_or("somebody"),
    };
    let data = json!({"name": name, "text": text});
    tell(&cx, &topic(&body.room)?, "chat.message", data).await
}

/// `{"action":"chat.typing","room":"lobby"}`: the others see it for a moment.
pub async fn typing(cx: Context, body: Room) -> Result<(), Error> {
    let topic = topic(&body.room)?;
    let others = json!({"to": {"topic": topic}, "except": [cx.connection()], "type": "chat.typing", "ttl": 5,
        "data": {"name": name(&cx)}});
    cx.notify(others).await
}

/// Clients of Centrifugo get the data alone, so that it says what it is.
async fn tell(cx: &Context, topic: &str, kind: &str, mut data: Value) -> Result<(), Error> {
    data["kind"] = kind.into();
    cx.notify(json!({"to": {"topic": topic}, "type": kind, "data": data}))
        .await
}

/// The topic of a room.
fn topic(room: &str) -> Result<String, Error> {
    let is_name = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
    if room.is_empty() || room.chars().count() > 40 || !room.chars().all(is_name) {
        return Err(Error::new(
            "NoSuchRoom",
            "`room` has 1 to 40 letters, digits, `-` and `_`",
        ));
    }
    Ok(format!("rooms/{room}"))
}

fn name(cx: &Context) -> &str {
    cx.user().map_or("somebody", |user| user.as_str())
}
