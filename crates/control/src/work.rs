//! What every step of the control plane is handed: the wish, the doors, and the person who is shown everything.

use crate::events::Event;
use crate::objects::permissions::Permission;
use crate::{Settings, Wish};
use m365::Client;
use store::Store;

/// What a step needs besides its own input.
pub(crate) struct Work<'a> {
    pub wish: Wish,
    pub client: &'a Client,
    pub store: &'a Store,
    pub settings: &'a Settings,
    pub approve: &'a mut (dyn FnMut(&[Permission]) -> bool + Send),
    show: &'a mut (dyn FnMut(Event) + Send),
}

impl<'a> Work<'a> {
    pub(crate) fn new(
        wish: Wish,
        client: &'a Client,
        store: &'a Store,
        settings: &'a Settings,
        approve: &'a mut (dyn FnMut(&[Permission]) -> bool + Send),
        show: &'a mut (dyn FnMut(Event) + Send),
    ) -> Work<'a> {
        Work { wish, client, store, settings, approve, show }
    }
    pub(crate) fn show(&mut self, event: Event) {
        (self.show)(event);
    }
}
