// The right side, first tab: what a clip shows, how sure that is, and why.

import {alignment} from './alignment.js';
import {call, checkSize, form} from './api.js';
import {$, acceptDrops, complain, el, fileButton, hue, percent, plural, say} from './dom.js';
import {recordButton} from './record.js';

const KEPT = 12; // answers on the page
const BARS = 5; // actions shown at first

export function startAsking() {
  const place = $('clip-drop');
  place.className = 'drop';
  place.replaceChildren(
    el('p', {}, 'Drop, choose or record a clip to see what it shows.'),
    el('div', {class: 'row'}, fileButton('Choose clips', {take: ask}), recordButton('Record a clip to ask about', (file) => ask([file]))));
  acceptDrops(place, ask);
}

export function showReadiness(about) {
  const words = about.ready ? 'Drop, choose or record a clip to see what it shows.'
    : about.classes === 0 ? 'First teach two actions; then show a clip here.'
      : 'Teach one more action; then show a clip here.';
  $('clip-drop').firstChild.textContent = words;
}

async function ask(files) {
  for (const file of files) await askOne(file);
}

async function askOne(file) {
  const url = URL.createObjectURL(file);
  const body = el('div', {class: 'body'}, el('p', {class: 'hint'}, `Looking at ${file.name}…`), el('progress', {'aria-label': `Looking at ${file.name}`}));
  const card = el('article', {class: 'answer', 'aria-label': file.name},
    el('video', {src: url, muted: true, loop: true, autoplay: true, playsinline: true, controls: true, 'aria-label': file.name}), body);
  $('answers').prepend(card);
  for (const old of [...$('answers').children].slice(KEPT)) {
    URL.revokeObjectURL(old.querySelector('video').src);
    old.remove();
  }
  try {
    await checkSize(file, 'clip_bytes');
    const {results: [found]} = await call('POST', '/api/predict?explain=true', {body: form({}, [file])});
    body.replaceChildren(...verdict(found));
    const best = found.explanation.label;
    card.append(el('details', {}, el('summary', {}, 'Why?'), alignment(found.explanation, best, hue(best))));
    say(`${file.name} shows ${found.label}`);
  } catch (error) {
    card.remove();
    URL.revokeObjectURL(url);
    complain(error);
  }
}

function verdict(found) {
  const ranked = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]);
  const best = found.explanation.label;
  const list = el('ul', {class: found.none_of_these ? 'bars unsure' : 'bars', 'aria-label': 'How likely each action is'},
    ranked.slice(0, BARS).map(bar));
  return [
    el('p', {class: 'file'}, found.file),
    found.none_of_these
      ? el('p', {class: 'label none'}, 'None of these')
      : el('p', {class: 'label', '--hue': hue(best)}, el('span', {class: 'dot', 'aria-hidden': 'true'}), best),
    found.none_of_these
      ? el('p', {class: 'hint'}, `It looks less familiar than the examples do. If it were one of them, then ${best}. More examples make this judgement better.`)
      : null,
    list,
    ranked.length > BARS
      ? el('button', {class: 'quiet', type: 'button', onclick: (event) => { list.replaceChildren(...ranked.map(bar)); event.target.remove(); }}, `Show all ${plural(ranked.length, 'action')}`)
      : null,
  ].filter(Boolean);
}

function bar([label, share]) {
  return el('li', {'--hue': hue(label), '--share': share},
    el('span', {class: 'name'}, label),
    el('span', {class: 'track', 'aria-hidden': 'true'}, el('span', {class: 'bar'})),
    el('span', {class: 'number'}, percent(share)));
}
