// The left side: actions, their examples as little flip books, adding and deleting.

import {call, checkSize, form, strip} from './api.js';
import {$, acceptDrops, complain, confirmed, el, fileButton, hue, plural, say} from './dom.js';
import {recordButton} from './record.js';

const SHOWN = 24; // examples of an action at first
const unfolded = new Set();
const unborn = new Set(); // named, but without examples yet; known to this page alone
const sending = new Map(); // label → uploads under way
let model = null;
let classes = [];
let changed = () => {};

export function startTeaching(afterChange) {
  changed = afterChange;
  $('new-action').addEventListener('submit', (event) => {
    event.preventDefault();
    const label = $('new-name').value.trim().normalize('NFC');
    if (!label) return;
    if (!classes.some((one) => one.label === label)) unborn.add(label);
    $('new-name').value = '';
    draw();
    const card = [...$('actions').children].find((one) => one.dataset.label === label);
    card.scrollIntoView({block: 'nearest', behavior: 'smooth'});
    card.querySelector('button').focus({preventScroll: true});
    say(`Action ${label} is ready for its first clip`);
  });
}

export function showClasses(found, about) {
  [classes, model] = [found, about];
  for (const one of classes) unborn.delete(one.label);
  draw();
}

function draw() {
  const names = [...new Set([...classes.map((one) => one.label), ...unborn])];
  const cards = names.map((label) => {
    const examples = classes.find((one) => one.label === label)?.examples ?? [];
    return card(label, examples);
  });
  const active = document.activeElement;
  const inside = active?.closest?.('.action');
  $('actions').replaceChildren(...cards);
  if (inside) refocus(inside.dataset.label, active.getAttribute('aria-label'));
}

// Whoever works with the keyboard stays where they were, or at the nearest thing that is left.
function refocus(label, name) {
  const card = [...$('actions').children].find((one) => one.dataset.label === label);
  const buttons = [...(card?.querySelectorAll('button') ?? [])];
  (buttons.find((one) => one.getAttribute('aria-label') === name) ?? buttons[0] ?? $('new-name')).focus({preventScroll: true});
}

function card(label, examples) {
  const add = (files) => upload(label, files);
  const busy = sending.get(label) ?? [];
  const shown = unfolded.has(label) ? examples : examples.slice(0, SHOWN);
  const thumbs = [...shown.map((example, i) => thumb(label, example, i)), ...busy.map(waiting)];
  const node = el('article', {class: 'action', 'data-label': label, '--hue': hue(label), 'aria-label': `Action ${label}`},
    el('div', {class: 'heading'},
      el('span', {class: 'dot', 'aria-hidden': 'true'}),
      el('h3', {}, label),
      el('span', {class: 'count'}, plural(examples.length, 'clip'))),
    el('div', {class: 'tools'},
      fileButton('Add clips', {label: `Add clips to ${label}`, take: add}),
      recordButton(`Record clips of ${label}`, (file) => add([file])),
      el('button', {class: 'quiet', type: 'button', 'aria-label': `Delete action ${label}`, onclick: () => removeClass(label, examples.length)}, 'Delete')),
    thumbs.length
      ? el('ul', {class: 'thumbs', 'aria-label': `Examples of ${label}`}, thumbs)
      : el('p', {class: 'hint'}, 'Drop clips here, choose files, or record.'),
    shown.length < examples.length
      ? el('button', {class: 'quiet', type: 'button', onclick: () => { unfolded.add(label); draw(); }}, `Show all ${examples.length}`)
      : null);
  acceptDrops(node, add);
  return node;
}

function thumb(label, example, place) {
  const picture = el('div', {class: 'flip', role: 'img', 'aria-label': `Example ${place + 1} of ${label}: ${example.file}`, title: example.file});
  strip(example.id).then((url) => {
    picture.style.setProperty('--strip', `url("${url}")`);
    picture.style.setProperty('--frames', model.frames);
  }).catch(() => {});
  return el('li', {}, picture,
    el('button', {class: 'remove', type: 'button', 'aria-label': `Delete example ${place + 1} of ${label}, ${example.file}`, onclick: () => removeExample(label, example)}, '✕'));
}

function waiting(item) {
  const bar = el('progress', {max: 1, 'aria-label': `Sending ${item.name}`});
  item.bar = bar;
  if (item.share !== null) bar.value = item.share;
  return el('li', {class: 'waiting', title: item.name}, bar);
}

// One request a file, one after the other: each shows up as soon as it is learnt.
async function upload(label, files) {
  const items = files.map((file) => ({name: file.name, file, share: 0, bar: null}));
  sending.set(label, [...(sending.get(label) ?? []), ...items]);
  draw();
  let learnt = 0;
  for (const item of items) {
    try {
      await checkSize(item.file, 'clip_bytes');
      await call('POST', '/api/examples', {
        body: form({label}, [item.file]),
        progress: (share) => {
          item.share = share < 1 ? share : null;
          if (item.share === null) item.bar?.removeAttribute('value');
          else if (item.bar) item.bar.value = share;
        },
      });
      learnt += 1;
    } catch (error) {
      complain(error);
    }
    sending.set(label, sending.get(label).filter((one) => one !== item));
    await changed();
  }
  say(`${plural(learnt, 'clip')} of ${label} learnt`);
}

async function removeExample(label, example) {
  if (!await confirmed(`Delete ${example.file} from “${label}”?`)) return;
  await remove(`/api/examples/${encodeURIComponent(example.id)}`, `Deleted ${example.file}`);
}

async function removeClass(label, count) {
  if (unborn.delete(label)) { draw(); return; }
  if (!await confirmed(`Delete the action “${label}” with its ${plural(count, 'clip')}?`)) return;
  await remove(`/api/classes/${encodeURIComponent(label)}`, `Deleted ${label}`);
}

async function remove(path, words) {
  try {
    await call('DELETE', path);
    say(words);
  } catch (error) {
    complain(error);
  }
  await changed();
}
