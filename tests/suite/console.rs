//! The console in a real browser.

mod layout;
mod logs;
mod other_pages;
mod others_templates;
mod tools;
mod watching;

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::json;
use tests::browser::Page;
use tests::stack::Stack;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A stack with its console in a browser.
struct Console {
    stack: Stack,
    page: Page,
    /// Each of these is a whole stack and a tab: more of them at once would only wait for each other.
    _turn: SemaphorePermit<'static>,
}

impl Console {
    /// `None` where there is no browser.
    async fn open() -> Option<Self> {
        Self::of(async || Stack::start(&[]).await).await
    }

    async fn of(start: impl AsyncFnOnce() -> Stack) -> Option<Self> {
        static TURNS: Semaphore = Semaphore::const_new(2);
        let turn = TURNS.acquire().await.unwrap();
        let mut page = Page::new().await?;
        let stack = start().await;
        page.open(stack.console()).await;
        page.until("document.getElementById('link').textContent === 'live'").await;
        Some(Self { stack, page, _turn: turn })
    }

    /// Whether `selector` finds an element with this text in it.
    async fn shows(&mut self, selector: &str, text: &str) {
        let condition = format!(
            "[...document.querySelectorAll({selector:?})].some((one) => one.checkVisibility() && \
             one.textContent.includes({text:?}))"
        );
        self.page.until(&condition).await;
    }

    /// Keeps a picture, where `TIDINGS_SCREENSHOTS` names a folder.
    async fn picture(&mut self, name: &str) {
        if let Some(folder) = std::env::var_os("TIDINGS_SCREENSHOTS") {
            std::fs::write(PathBuf::from(folder).join(name), self.page.screenshot().await).unwrap();
        }
    }

    /// Ends it, and shows that the page had no trouble and asked nobody but the stack.
    async fn close(mut self) {
        assert_eq!(self.page.complaints().await, [""; 0]);
        let own = self.stack.console().split('/').nth(2).unwrap().to_owned();
        assert_eq!(self.page.hosts().await, HashSet::from([own]));
        self.stack.stop().await;
    }

    /// The element that has the focus: its id, else its text.
    async fn focused(&mut self) -> String {
        let focused = self.page.eval("document.activeElement.id || document.activeElement.textContent").await;
        focused.as_str().unwrap().to_owned()
    }

    async fn has_no_overflow(&mut self, what: &str) {
        let wide = self
            .page
            .eval(
                "[document.documentElement, ...document.querySelectorAll('.scroll')].filter((one) => \
                 one.scrollWidth > one.clientWidth).map((one) => `${one.id || one.className || one.tagName}: \
                 ${one.scrollWidth} > ${one.clientWidth}`)",
            )
            .await;
        assert_eq!(wide, json!([]), "{what}");
    }
}
