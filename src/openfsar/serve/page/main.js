// Ties the parts together: what the server knows is fetched once, and again after every change.

import {call} from './api.js';
import {showReadiness, startAsking} from './ask.js';
import {$, acceptDrops, complain, plural, setActions} from './dom.js';
import {showClasses, startTeaching} from './teach.js';
import {showPlace, startWatching} from './watch.js';

async function refresh() {
  try {
    const [about, classes] = await Promise.all([call('GET', '/api/model'), call('GET', '/api/classes')]);
    setActions(classes.map((one) => one.label));
    $('about').textContent = `${about.method} on ${about.encoder} · ${plural(about.classes, 'action')} · ${plural(about.examples, 'example')}`;
    $('about').title = about.calibration ?? '';
    $('quality').textContent = quality(about);
    showClasses(classes, about);
    showReadiness(about);
    showPlace(about);
  } catch (error) {
    $('about').textContent = 'Not connected';
    complain(error);
  }
}

function quality(about) {
  if (!about.ready) return '';
  if (!about.asked) return 'With two clips each, it can tell you how well it does, and say “none of these”.';
  const right = Math.round(about.accuracy * about.asked);
  const more = about.accuracy < 0.9 ? ' More clips help, and so do clips that differ in place and light.' : '';
  return `${right} of ${plural(about.asked, 'example')} ${right === 1 ? 'is' : 'are'} named rightly from the others alone.${more}`;
}

function startTabs() {
  const tabs = [...document.querySelectorAll('[role=tab]')];
  const choose = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute('aria-selected', String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      $(tab.getAttribute('aria-controls')).hidden = tab !== chosen;
    }
  };
  for (const tab of tabs) {
    tab.addEventListener('click', () => choose(tab));
    tab.addEventListener('keydown', (event) => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!step) return;
      const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  }
}

acceptDrops(document.body, () => {}); // a file that misses its place must not replace the page
startTabs();
startTeaching(refresh);
startAsking();
startWatching();
refresh();
