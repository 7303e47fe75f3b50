//! What every step of the control plane is handed: the wish, the doors, and the person who is shown everything.

use crate::events::Event;
use crate::{Permission, Plan, Settings, Wish};
use m365::Client;
use std::sync::Mutex;
use store::Store;

/// What a person is asked to say yes to before it is done.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    Permissions(&'a [Permission]),
    Plan(&'a Plan),
}

/// What a step needs besides its own input. The locks are never waited for: they let a step that only reads be
/// awaited on any thread.
pub(crate) struct Work<'a> {
    pub wish: Wish,
    pub client: &'a Client,
    pub store: &'a Store,
    pub settings: &'a Settings,
    approve: Mutex<&'a mut Approve<'a>>,
    show: Mutex<&'a mut Show<'a>>,
}

pub(crate) type Approve<'a> = dyn FnMut(Asked<'_>) -> bool + Send + 'a;
pub(crate) type Show<'a> = dyn FnMut(Event) + Send + 'a;

impl<'a> Work<'a> {
    pub(crate) fn new(
        wish: Wish,
        client: &'a Client,
        store: &'a Store,
        settings: &'a Settings,
        approve: &'a mut Approve<'a>,
        show: &'a mut Show<'a>,
    ) -> Work<'a> {
        Work { wish, client, store, settings, approve: Mutex::new(approve), show: Mutex::new(show) }
    }
    /// False unless a person said yes.
    pub(crate) fn approve(&mut self, asked: Asked<'_>) -> bool {
        self.approve.get_mut().is_ok_and(|approve| approve(asked))
    }
    pub(crate) fn show(&mut self, event: Event) {
        if let Ok(show) = self.show.get_mut() {
            show(event);
        }
    }
}
