// One stream of server-sent events at a time: what the view in front wants to hear.
export function listen(topics, handlers, onState) {
  const query = Object.entries(topics).map(([key, value]) => `${key}=${encodeURIComponent(value === true ? 1 : value)}`).join("&");
  let source = null;
  let closed = false;
  let timer = 0;
  const open = () => {
    source = new EventSource(`/api/v1/stream?${query}`);
    source.addEventListener("open", () => onState("live"));
    source.addEventListener("error", () => {
      onState("lost");
      // After an answer that is no stream (503: too many listen) the browser gives up; we do not.
      if (source.readyState === EventSource.CLOSED && !closed) timer = setTimeout(open, 5000);
    });
    for (const [name, handle] of Object.entries(handlers)) source.addEventListener(name, event => handle(JSON.parse(event.data)));
  };
  open();
  return () => { closed = true; clearTimeout(timer); source.close(); };
}
