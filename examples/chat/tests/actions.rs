//! What the chat refuses, without AWS and without a gateway.

use tidings::Context;

use chat::{Message, Room, join, send};

#[tokio::test]
async fn who_says_nothing_or_too_much_is_told() {
    for (text, code) in [
        (" ".to_owned(), "NoText"),
        ("x".repeat(2_001), "TextTooLong"),
    ] {
        let error = send(
            Context::detached(()),
            Message {
                room: "lobby".to_owned(),
                text,
                name: None,
            },
        )
        .await
        .unwrap_err();
        assert_eq!(error.code(), Some(code));
    }
}

#[tokio::test]
async fn a_room_has_a_name() {
    for room in ["", "a/b", "a b"] {
        let error = join(
            Context::detached(()),
            Room {
                room: room.to_owned(),
            },
        )
        .await
        .unwrap_err();
        assert_eq!(error.code(), Some("NoSuchRoom"), "{room:?}");
    }
}
