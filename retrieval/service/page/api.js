// The service, as the page talks to it. Errors are `Refused`, with the one line that the service says.

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const PATIENCE_S = 3; // a full service says when to come back; longer than this the person should know

async function answerOf(response) {
  if (response.ok) return response.json();
  let line = `the service answered ${response.status}`;
  try {
    const body = await response.json();
    const said = body.error ?? body.detail;
    if (typeof said === "string") line = said;
    else if (Array.isArray(said) && said.length) line = said.map((one) => `${(one.loc ?? []).slice(1).join(".")}: ${one.msg}`).join("; ");
  } catch {
    // Not JSON: something between the page and the service has answered; the number says more than its body.
  }
  throw new Refused(line, response.status);
}

async function fetched(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("the service does not answer; is it still running?", 0);
  }
}

export async function ask(path, body, signal) {
  const options = { signal };
  if (body !== undefined) Object.assign(options, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const response = await fetched(path, options);
  const wait = Number(response.headers.get("retry-after"));
  if (response.status === 503 && wait > 0 && wait <= PATIENCE_S) {
    await new Promise((resume) => setTimeout(resume, wait * 1000));
    return answerOf(await fetched(path, options));
  }
  return answerOf(response);
}

const HEIGHTS = [240, 400, 640, 960]; // few, so that the service's cache of thumbnails is of use

// The address of a thumbnail sharp enough for `height` CSS pixels on this screen.
export function thumbnailOf(result, height) {
  const pixels = height * Math.min(window.devicePixelRatio || 1, 2);
  const fit = HEIGHTS.find((one) => one >= pixels * 0.9) ?? HEIGHTS.at(-1);
  const address = new URL(result.thumbnail, location.href);
  address.searchParams.set("height", fit);
  return address.pathname + address.search;
}

// Requests one at a time, the newest first: while one is out, the latest of those that come is kept and sent next.
// One that has been out for long is given up, so that a slow rewriter does not hold up what is typed now.
export function latestOnly(work, longMs = 400) {
  let running = null, next = null;
  async function start(argument) {
    const control = new AbortController();
    const mine = (running = { control, since: performance.now() });
    try {
      await work(argument, control.signal);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      if (running === mine) {
        running = null;
        if (next) {
          const { argument: waiting } = next;
          next = null;
          start(waiting);
        }
      }
    }
  }
  return function request(argument) {
    if (running && performance.now() - running.since < longMs) {
      next = { argument };
      return;
    }
    next = null;
    if (running) {
      running.control.abort();
      running = null;
    }
    start(argument);
  };
}

// ms(): milliseconds of quiet before the work is done.
export function debounced(work, ms) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), ms());
  };
}
