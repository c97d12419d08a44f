// Why: the frames of a clip down the side, those of the nearest example along the top, how far each pair is
// apart as shading, and the path of the best alignment.

import {el, svg} from './dom.js';

const CELL = 44;
const GAP = 6;
const HEAD = CELL + GAP;

export function alignment(explanation, label, hue) {
  const {distances, path} = explanation;
  const [rows, columns] = [distances.length, distances[0].length];
  const all = distances.flat();
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const near = (d) => (high > low ? 1 - (d - low) / (high - low) : 0.5);
  const [width, height] = [HEAD + columns * CELL, HEAD + rows * CELL];
  const on = new Set(path.map(([t, u]) => `${t},${u}`));

  const cells = distances.flatMap((row, t) => row.map((d, u) => svg('rect', {
    x: HEAD + u * CELL + 1, y: HEAD + t * CELL + 1, width: CELL - 2, height: CELL - 2, rx: 5,
    class: on.has(`${t},${u}`) ? 'cell on' : 'cell', 'fill-opacity': (0.06 + 0.84 * near(d)).toFixed(3),
    'data-t': t, 'data-u': u,
  })));
  const centre = ([t, u]) => `${HEAD + (u + 0.5) * CELL},${HEAD + (t + 0.5) * CELL}`;
  const line = path.map(centre).join(' ');
  const picture = svg('svg', {viewBox: `0 0 ${width} ${height}`, class: 'alignment', role: 'img', 'aria-label': words(path)},
    ...frames(explanation.video_strip, rows, (t) => [0, HEAD + t * CELL]),
    ...frames(explanation.example_strip, columns, (u) => [HEAD + u * CELL, 0]),
    ...cells,
    svg('polyline', {points: line, class: 'halo'}),
    svg('polyline', {points: line, class: 'path'}),
    ...path.map((step) => { const [cx, cy] = centre(step).split(','); return svg('circle', {cx, cy, r: 4, class: 'step'}); }));

  const rest = `Down: your clip. Across: ${explanation.file}. The stronger the colour, the more alike; the line goes along the best match in order of time.`;
  const caption = el('p', {class: 'hint'}, rest);
  picture.addEventListener('pointermove', (event) => {
    const {t, u} = event.target.dataset;
    caption.textContent = t === undefined ? rest
      : `Your frame ${Number(t) + 1} and frame ${Number(u) + 1} of the example: distance ${distances[t][u].toFixed(2)}.`;
  });
  picture.addEventListener('pointerleave', () => { caption.textContent = rest; });
  return el('figure', {class: 'why', '--hue': hue},
    picture,
    el('div', {}, el('p', {}, 'Nearest example: ', el('strong', {}, explanation.file), ` of “${label}”`), caption));
}

// One frame of a strip each: the whole strip, seen through a window.
function frames(strip, count, place) {
  return Array.from({length: count}, (_, i) => {
    const [x, y] = place(i);
    return svg('svg', {x: x + 1, y: y + 1, width: CELL - 2, height: CELL - 2, viewBox: `${i} 0 1 1`, preserveAspectRatio: 'xMidYMid slice'},
      svg('image', {href: strip, width: count, height: 1, preserveAspectRatio: 'none'}));
  });
}

function words(path) {
  const pairs = path.map(([t, u]) => `${t + 1} with ${u + 1}`);
  return `Frames of your clip matched with frames of the example: ${pairs.join(', ')}`;
}
