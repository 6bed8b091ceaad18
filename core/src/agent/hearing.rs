//! Packets, interfaces and sockets: whom what was heard concerns, and what is
//! discarded.

use super::*;

impl Agent {
    pub(super) fn on_advert(&mut self, now: Instant, heard: &Heard<'_>, actions: &mut Vec<Action>) {
        let vrid = heard.message.as_ref().ok().map(|message| message.vrid);
        let instance = vrid
            .and_then(Vrid::new)
            .and_then(|vrid| self.by_vrid.get(&(heard.interface, heard.family, vrid)))
            .copied();
        let known = instance.and_then(|id| Some((id, self.routers.get(&id)?)));
        let receiver = known.map(|(id, router)| Receiver {
            id,
            marks: router.marks(),
            settings: router.settings(),
            source: router.source(),
        });
        // An owner's advertisement comes from its own address, which is on this
        // host too while it stands in for the owner.
        let ours = receiver.and_then(|receiver| receiver.source) == Some(heard.source);
        let stands_in = receiver.is_some() && !ours && self.world.is_virtual(heard.source);
        let own_source = self.world.is_own(heard.interface, heard.source) && !stands_in;
        match ladder::judge(heard, receiver, own_source) {
            Ok(advert) => {
                if let Some(instance) = instance {
                    self.one(now, actions, instance, |router, turn| {
                        router.on_advert(turn, &advert);
                    });
                }
            }
            Err(discard) => self.discard(now, heard, instance, &discard, actions),
        }
    }

    fn discard(
        &mut self,
        now: Instant,
        heard: &Heard<'_>,
        instance: Option<InstanceId>,
        discard: &ladder::Discard,
        actions: &mut Vec<Action>,
    ) {
        let counter = discard.counter;
        let router = instance.and_then(|id| self.routers.get_mut(&id));
        let name = router.as_ref().map(|router| router.settings().name.clone());
        match router {
            Some(router) => {
                router.count(counter);
                if let ladder::Why::Authentication(distrust) = &discard.why {
                    router.note_rejection(now, heard.source, distrust.kind());
                }
            }
            None => self.counters.count(counter),
        }
        let quiet = &mut self.quiet;
        if let Some(repeated) = quiet.may_report(now, instance, heard.interface, counter) {
            let fact = Fact::Discarded {
                counter,
                interface: heard.interface,
                source: heard.source,
                detail: discard.why.to_string(),
                repeated,
            };
            Turn::new(now, &self.world, &mut self.errands, actions).report(name.as_ref(), fact);
        }
    }

    pub(super) fn on_interface(
        &mut self,
        now: Instant,
        interface: InterfaceName,
        state: Option<InterfaceState>,
        actions: &mut Vec<Action>,
    ) {
        let usable = state.as_ref().filter(|state| state.up);
        let index = usable.map(|state| state.index);
        let before = self.world.set_interface(interface, state);
        let before = before
            .and_then(|known| known.state)
            .filter(|state| state.up)
            .map(|state| state.index);
        let renewed = index.is_some() && index != before;
        self.with_checks(now, actions, Checks::observe);
        let users = self.users(interface);
        self.each(now, actions, &users, |router, turn| {
            router.on_interface(turn, interface, renewed);
        });
    }

    pub(super) fn on_socket(
        &mut self,
        now: Instant,
        interface: InterfaceName,
        family: Family,
        outcome: Result<(), String>,
        actions: &mut Vec<Action>,
    ) {
        let error = outcome.as_ref().err().cloned();
        let news = self.world.set_socket(interface, family, outcome);
        if let Some(error) = error.filter(|_| news) {
            let fact = Fact::SocketFailed {
                interface,
                family,
                error,
            };
            Turn::new(now, &self.world, &mut self.errands, actions).report(None, fact);
        }
        let users = self.users(interface);
        self.each(now, actions, &users, VirtualRouter::on_socket);
    }
}
