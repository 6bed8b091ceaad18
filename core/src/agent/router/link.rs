//! The interface with the virtual hardware address: up while the router holds,
//! before its addresses come; down otherwise, after they were ordered away.

use super::*;
use crate::agent::report::LinkFact;
use crate::agent::virtual_link::{LinkChanged, LinkNews, LinkState, Raised};

impl VirtualRouter {
    /// Its interface with the virtual hardware address, wanted or about to go.
    pub fn link_left(&self) -> Option<VirtualLink> {
        self.link.configured().or(self.link.left())
    }

    /// Before the addresses, which wait until it is up.
    pub(super) fn raise_link(&mut self, turn: &mut Turn<'_>) {
        if let Some(raised) = self.raised(turn.world) {
            self.link.bring(turn, LinkState::Up(raised));
        } else {
            self.rest_link(turn);
        }
        self.holdings.set_link_up(self.link.is_up());
    }

    /// After the addresses were ordered away.
    pub(super) fn rest_link(&mut self, turn: &mut Turn<'_>) {
        let state = match self.stopping {
            true => LinkState::Absent,
            false => LinkState::Down,
        };
        self.link.bring(turn, state);
        self.holdings.set_link_up(false);
    }

    /// As it should be while the router holds; `None` where none is configured.
    fn raised(&self, world: &World) -> Option<Raised> {
        let link = self.link.configured()?;
        let parent = world.interface(link.parent)?.state.as_ref()?;
        let own = parent.addresses.iter().filter(|own| !own.secondary);
        let mut own = own.filter_map(|own| match own.network.addr() {
            IpAddr::V4(address) if !world.is_virtual(address.into()) => Some(address),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        });
        let speaks_as = match self.source {
            Some(IpAddr::V4(source)) => Some(source),
            Some(IpAddr::V6(_)) | None => own.next(),
        };
        Some(Raised {
            mtu: parent.mtu,
            guarded: self.holdings.ipv4_on(link.name),
            speaks_as: speaks_as.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
        })
    }

    /// By which advertisements leave, where not by the instance's own
    /// interface: only while we are the virtual router, so that no switch
    /// learns its address from who gave it up. To a unicast peer no switch
    /// needs to learn anything that the announcements do not tell.
    pub(super) fn advert_link(&self) -> Option<InterfaceName> {
        let multicast = self.settings.unicast_peers.is_empty();
        let link = self.link.configured().filter(|_| self.link.is_up())?;
        (self.speaks() && !self.has_let_go() && multicast).then_some(link.name)
    }

    /// The kernel answered an order about it.
    pub fn on_link_changed(&mut self, turn: &mut Turn<'_>, outcome: Result<LinkChanged, String>) {
        let Some(link) = self.link.left() else {
            return;
        };
        let was_up = self.link.is_up();
        if let Some(news) = self.link.changed(turn.now, outcome) {
            let fact = match news {
                LinkNews::Failed { error, retry_in } => LinkFact::Failed { error, retry_in },
                LinkNews::Restored => LinkFact::Restored,
                LinkNews::Unguarded(why) => LinkFact::Unguarded {
                    parent: link.parent,
                    why,
                },
            };
            let fact = Fact::VirtualLink {
                interface: link.name,
                fact,
            };
            turn.report(Some(&self.settings.name), fact);
        }
        // Told when the first address is there: what comes meets nobody before.
        self.owes_advert = self.link.is_up() && (self.owes_advert || !was_up);
        self.refresh(turn);
        self.announce_due(turn);
    }

    /// An address is there, and is about to be announced: from this
    /// advertisement switches learn where the virtual router is.
    pub(super) fn teach_switches(&mut self, turn: &mut Turn<'_>) {
        let active = matches!(self.state, State::Active(_));
        if active && !self.doubts(turn.now) && std::mem::take(&mut self.owes_advert) {
            self.advertise(turn, self.priority.get());
        }
    }

    /// Another router with our virtual hardware address claims one of our
    /// addresses: no neighbour learns anything by that, and no stranger can be
    /// told from a peer. Whoever is being relieved must know of it. Returns
    /// whether it was such a claim.
    pub(super) fn hears_twin(&mut self, turn: &mut Turn<'_>, claim: Claim) -> bool {
        let link = self.link.configured();
        if link.is_none_or(|link| link.hardware_address != claim.hardware_address) {
            return false;
        }
        match self.state {
            State::Resigning(_) if !claim.solicited => self.on_relief(turn, claim.address),
            State::Initialize(_)
            | State::Backup(_)
            | State::Claiming(_)
            | State::Active(_)
            | State::Resigning(_) => {}
        }
        true
    }
}
