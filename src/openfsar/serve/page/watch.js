// The right side, second tab: what happens when in a long video, under a player that can be scrubbed.

import {call, checkSize, form} from './api.js';
import {$, acceptDrops, clock, complain, duration, el, fileButton, hue, percent, plural, say, svg} from './dom.js';

const POLL = 700; // milliseconds
const CURVES = 8;
let current = null; // what is being watched: aborted when something else is

export function startWatching() {
  const place = $('long-drop');
  place.className = 'drop';
  place.replaceChildren(
    el('p', {}),
    el('div', {class: 'row'}, fileButton('Choose a video', {multiple: false, take: ([file]) => watch(file)}),
      el('label', {}, 'An action lasts about ', el('select', {id: 'window'},
        [['0.5', '½ s'], ['1', '1 s'], ['2', '2 s'], ['4', '4 s'], ['8', '8 s'], ['15', '15 s'], ['30', '30 s']]
          .map(([value, text]) => el('option', {value, selected: value === '2'}, text))))));
  acceptDrops(place, ([file]) => watch(file));
}

export function showPlace(about) {
  $('long-drop').firstChild.textContent = about.ready
    ? 'Drop or choose a long video to see what happens when.'
    : 'First teach two actions; then show a long video here.';
}

async function watch(file) {
  current?.stop();
  const aborter = new AbortController();
  const url = URL.createObjectURL(file);
  const run = {signal: aborter.signal, job: null, stop() {
    aborter.abort();
    URL.revokeObjectURL(url);
    if (run.job) call('DELETE', `/api/timelines/${run.job}`).catch(() => {});
    $('timeline').replaceChildren();
    if (current === run) current = null;
  }};
  current = run;
  const words = el('p', {class: 'hint', role: 'status'}, `Sending ${file.name}…`);
  const bar = el('progress', {max: 1, value: 0, 'aria-label': `Progress of ${file.name}`});
  const waiting = el('div', {class: 'waiting-long'}, words, bar,
    el('button', {class: 'quiet', type: 'button', onclick: () => { run.stop(); say('Cancelled'); }}, 'Cancel'));
  const video = el('video', {src: url, controls: true, playsinline: true, preload: 'metadata', 'aria-label': file.name});
  const view = el('div', {class: 'watch'}, video, waiting);
  video.addEventListener('error', () => {
    video.replaceWith(el('p', {class: 'hint'}, 'Your browser cannot play this kind of video; the server can read it all the same.'));
  });
  $('timeline').replaceChildren(view);
  try {
    await checkSize(file, 'video_bytes');
    const job = await call('POST', `/api/timelines?window=${$('window').value}`, {
      body: form({}, [file]), signal: run.signal, progress: (share) => { bar.value = share; },
    });
    run.job = job.id;
    const done = await follow(job, run, words, bar);
    if (!done) return;
    waiting.remove();
    view.append(...picture(done, video));
    say(`${file.name}: ${plural(done.result.segments.length, 'segment')} found`);
  } catch (error) {
    if (error.name === 'AbortError') return;
    run.job = null;
    run.stop();
    complain(error);
  }
}

async function follow(job, run, words, bar) {
  for (let now = job; ; now = await call('GET', `/api/timelines/${job.id}`, {signal: run.signal})) {
    if (run.signal.aborted) return null;
    if (now.state === 'done') return now;
    if (now.state === 'failed') throw Object.assign(new Error(now.problem.detail), {problem: now.problem});
    bar.value = now.progress;
    words.textContent = now.state === 'queued' ? `Waiting for ${plural(now.ahead, 'other video')}…`
      : now.seconds_left === null ? 'Looking…' : `Looking… about ${duration(now.seconds_left)} left`;
    await new Promise((done) => setTimeout(done, POLL));
  }
}

// The player's companions: a ribbon of segments and curves to scrub on, the legend, the list.
function picture(job, video) {
  const {seconds, times, scores, known} = job.result;
  const labels = strongest(scores);
  const seek = (time) => { video.currentTime = Math.min(seconds, Math.max(0, time)); };

  // The playhead is the thumb of a range, so that mouse, finger and keys all move it.
  const range = el('input', {type: 'range', class: 'scrub', min: 0, max: seconds, step: 0.02, value: 0, 'aria-label': 'Position in the video', oninput: () => seek(Number(range.value))});
  const ribbon = el('div', {class: 'ribbon', 'aria-hidden': 'true'});
  const lanes = el('div', {class: 'lanes'}, ribbon, el('div', {class: 'curves'}, curves(labels, job.result)), range);

  const numbers = new Map(labels.map((label) => [label, el('span', {class: 'number'})]));
  const legend = el('ul', {class: 'legend', 'aria-label': 'How likely each action is here'}, labels.map((label) => el('li', {'--hue': hue(label)},
    el('span', {class: 'dot', 'aria-hidden': 'true'}), label, ' ', numbers.get(label))),
    known.includes(false) ? el('li', {}, el('span', {class: 'dot strange', 'aria-hidden': 'true'}), 'none of these') : null);

  const list = el('ol', {class: 'segments', 'aria-label': 'What happens when'});
  let segments = [];
  const fill = (found) => {
    segments = found;
    ribbon.replaceChildren(...found.map((one) => el('span', {class: 'block', '--hue': hue(one.label), '--left': share(one.start, seconds), '--width': share(one.end - one.start, seconds)}, one.label)));
    list.replaceChildren(...(found.length ? found.map((one) => row(one, () => { seek(one.start); video.play().catch(() => {}); }))
      : [el('li', {class: 'hint'}, 'Nothing is that sure anywhere. Move the slider to the left to see more.')]));
  };
  fill(job.result.segments);

  const show = () => {
    const time = video.currentTime;
    range.value = time;
    range.setAttribute('aria-valuetext', clock(time));
    const window = nearest(times, time);
    for (const [label, node] of numbers) node.textContent = window < 0 ? '' : percent(scores[label][window]);
    segments.forEach((one, i) => list.children[i].classList.toggle('now', one.start <= time && time < one.end));
  };
  const tick = () => { show(); if (!video.paused && video.isConnected) requestAnimationFrame(tick); };
  for (const event of ['seeked', 'timeupdate', 'loadedmetadata']) video.addEventListener(event, show);
  video.addEventListener('play', tick);
  show();
  return [lanes, legend, ...certainty(job, (found) => { fill(found); show(); }), list];
}

// How sure a segment must be: cut anew by the server, which has the scores; and files of what is shown.
function certainty(job, fill) {
  const said = el('output', {}, '50 %');
  const slider = el('input', {type: 'range', min: 0.1, max: 0.95, step: 0.05, value: 0.5, 'aria-label': 'How sure a segment must be',
    oninput: () => { said.textContent = percent(Number(slider.value)); },
    onchange: async () => {
      try {
        fill((await call('GET', `/api/timelines/${job.id}?sure=${slider.value}`)).result.segments);
      } catch (error) { complain(error); }
    }});
  const download = async (format, ending) => {
    try {
      const data = await call('GET', `/api/timelines/${job.id}/export?format=${format}&sure=${slider.value}`);
      const text = data instanceof Blob ? data : JSON.stringify(data, null, 2);
      const url = URL.createObjectURL(new Blob([text]));
      el('a', {href: url, download: `${job.file.replace(/\.[^.]*$/, '')}.${ending}`}).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    } catch (error) { complain(error); }
  };
  const file = (text, format, ending) => el('button', {type: 'button', class: 'quiet', 'aria-label': `Download as ${text}`, onclick: () => download(format, ending)}, text);
  return [
    el('label', {class: 'sure'}, el('span', {}, 'Show what is at least ', said, ' sure'), slider),
    el('div', {class: 'tools'}, el('span', {class: 'hint'}, 'Save as'), file('Table', 'csv', 'csv'), file('Subtitles', 'vtt', 'vtt'), file('JSON', 'json', 'json')),
  ];
}

function curves(labels, {seconds, times, scores, known}) {
  const x = (time) => (1000 * time / seconds).toFixed(1);
  const edge = (i) => (i <= 0 ? 0 : i >= times.length ? seconds : (times[i - 1] + times[i]) / 2);
  return svg('svg', {viewBox: '0 0 1000 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': `How likely each action is over time: ${labels.join(', ')}`},
    known.flatMap((is, i) => (is ? [] : [svg('rect', {x: x(edge(i)), y: 0, width: x(edge(i + 1) - edge(i)), height: 100, class: 'strange'})])),
    [2, 50, 98].map((y) => svg('line', {x1: 0, x2: 1000, y1: y, y2: y, class: 'grid'})),
    labels.map((label) => svg('polyline', {
      '--hue': hue(label), class: 'curve', points: times.map((time, i) => `${x(time)},${(98 - 96 * scores[label][i]).toFixed(1)}`).join(' '),
    })));
}

function row(one, play) {
  return el('li', {'--hue': hue(one.label)}, el('button', {class: 'quiet', type: 'button', onclick: play},
    el('span', {class: 'dot', 'aria-hidden': 'true'}), el('span', {class: 'name'}, one.label),
    el('span', {class: 'time'}, `${clock(one.start)} – ${clock(one.end)}`), el('span', {class: 'number'}, percent(one.confidence))));
}

// More curves than this are a tangle.
function strongest(scores) {
  const peak = (label) => Math.max(...scores[label]);
  return Object.keys(scores).sort((a, b) => peak(b) - peak(a)).slice(0, CURVES);
}

const share = (part, whole) => `${(100 * Math.min(1, part / whole)).toFixed(3)}%`;

function nearest(times, time) {
  let best = -1;
  times.forEach((t, i) => { if (best < 0 || Math.abs(t - time) < Math.abs(times[best] - time)) best = i; });
  return best;
}
