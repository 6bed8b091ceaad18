//! The rules for a host from which no advertisement leaves: an Active gives up
//! when its peers' patience is over.

use super::*;

impl Part<'_> {
    pub(super) fn is_mute(&self) -> bool {
        let kernel = &self.lab.at(self.host).kernel;
        kernel.is_mute_on(self.settings.interface)
    }
}

/// Whether the other rules about what should be sent by now do not apply.
pub(super) fn excuses(lab: &Lab, watch: &Watch, host: HostId, settings: &InstanceSettings) -> bool {
    let here = lab.at(host);
    if !here.kernel.is_mute_on(settings.interface) {
        return false;
    }
    let interval = settings.advert_interval.as_duration();
    let patience = interval * u32::from(settings.down_after);
    let silent = lab.local(host).since(watch.last_advert);
    let most = patience + interval + here.clock.late_max * 2 + ROUNDING;
    let excused = watch.rescheduled || watch.listens_first.is_some();
    if watch.state == StateName::Active && silent > most && !excused {
        let (host, name) = (&here.name, &settings.name);
        lab.fail(&format!(
            "{host} {name}: Active although nothing has left it for {silent:?}"
        ));
    }
    true
}
