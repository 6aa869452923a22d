using System.IO.Compression;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace Edge.Cloud.Dashboard;

/// <summary>Serves the page and its API under <c>/api/v1/</c>: see docs/dashboard.md. Reads only; everything comes from memory.</summary>
internal sealed class DashboardServer(FleetWatch watch, DashboardState state, DashboardAccess access) : IAsyncDisposable
{
    /// <summary>Pages that may listen at once; further ones get 503 and go on asking.</summary>
    public const int ListenersMax = 64;

    // A list of thousands of nodes is written anew at most this often, whoever asks.
    private static readonly TimeSpan s_fresh = TimeSpan.FromMilliseconds(500);

    private static readonly TimeSpan s_pace = TimeSpan.FromMilliseconds(400);

    private static readonly TimeSpan s_silence = TimeSpan.FromSeconds(15);

    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private Kept? _overview;
    private Kept? _nodes;
    private int _listeners;

    /// <summary>Pages that listen now.</summary>
    public int Listeners => Volatile.Read(ref _listeners);

    /// <summary>True when the path is the page's and was answered.</summary>
    public async Task<bool> TryServeAsync(HttpContext context)
    {
        var path = context.Request.Path.Value ?? "/";
        var isApi = path.StartsWith("/api/v1/", StringComparison.Ordinal);
        if (!isApi && path != "/" && !PageFiles.Paths.Contains(path))
            return false;
        var headers = context.Response.Headers;
        headers.ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        if (!HttpMethods.IsGet(context.Request.Method))
        {
            headers.Allow = "GET";
            context.Response.StatusCode = StatusCodes.Status405MethodNotAllowed;
            return true;
        }

        if (!await access.AllowsAsync(context))
            return true;
        if (!isApi)
            return await PageFiles.TryServeAsync(context);
        headers.CacheControl = "no-store";
        using var both = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, _stop.Token);
        try
        {
            await ApiAsync(context, path["/api/v1/".Length..].Split('/'), both.Token);
        }
        catch (OperationCanceledException) when (both.IsCancellationRequested)
        {
            // The page was closed, or cloudcore stops.
        }

        return true;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await watch.DisposeAsync();
    }

    private async Task ApiAsync(HttpContext context, string[] path, CancellationToken cancellationToken)
    {
        var model = await watch.UseAsync(cancellationToken);
        switch (path)
        {
            case ["overview"]:
                await JsonAsync(context, Overview(model), cancellationToken);
                return;
            case ["nodes"]:
                await JsonAsync(context, Nodes(model), cancellationToken);
                return;
            case ["nodes", var name] when model.Node(name) is { } node:
                await JsonAsync(context, DashboardJson.Node(model, node, state), cancellationToken);
                return;
            case ["devices"]:
                await JsonAsync(context, Devices(model), cancellationToken);
                return;
            case ["devices", var ns, var name] when model.Device(ns, name) is { } device:
                await JsonAsync(context, DashboardJson.Device(device.Device, device.Status), cancellationToken);
                return;
            case ["devices", var ns, var name, "series", var property]:
                await JsonAsync(context, DashboardJson.Series(model.Series(ns, name, Uri.UnescapeDataString(property))), cancellationToken);
                return;
            case ["services"]:
                await JsonAsync(context, DashboardJson.Services(model, state), cancellationToken);
                return;
            case ["events"]:
                await JsonAsync(context, DashboardJson.Events(model.EventsAfter(0)), cancellationToken);
                return;
            case ["stream"]:
                await StreamAsync(context, model, cancellationToken);
                return;
            default:
                context.Response.StatusCode = StatusCodes.Status404NotFound;
                await JsonAsync(context, "{\"error\":\"there is nothing here\"}"u8.ToArray(), cancellationToken);
                return;
        }
    }

    // Server-sent events. What a listener knows is a number; at each look it gets what came after, so that a slow one has no queue: it is simply told less often.
    private async Task StreamAsync(HttpContext context, FleetModel model, CancellationToken cancellationToken)
    {
        if (Interlocked.Increment(ref _listeners) > ListenersMax)
        {
            Interlocked.Decrement(ref _listeners);
            context.Response.Headers.RetryAfter = "10";
            context.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
            return;
        }

        try
        {
            using var hold = watch.Hold();
            var query = context.Request.Query;
            var listener = new Listener(
                query.ContainsKey("nodes") && long.TryParse(query["nodes"], out var after) ? after : -1, query["node"].ToString(), query["device"].ToString().Split('/', 2), query.ContainsKey("devices"),
                query.ContainsKey("events"), query.ContainsKey("services"));
            context.Response.ContentType = "text/event-stream";
            context.Response.Headers["X-Accel-Buffering"] = "no"; // for a proxy in between
            var body = context.Response.BodyWriter;
            var spokeAt = state.Time.GetTimestamp();
            await body.WriteAsync("retry: 3000\n\n"u8.ToArray(), cancellationToken);
            while (true)
            {
                var text = new StringBuilder();
                listener.Collect(this, model, text);
                if (text.Length == 0 && state.Time.GetElapsedTime(spokeAt) > s_silence)
                    text.Append(": still here\n\n");
                if (text.Length > 0)
                {
                    spokeAt = state.Time.GetTimestamp();
                    await body.WriteAsync(Encoding.UTF8.GetBytes(text.ToString()), cancellationToken);
                }

                await Task.Delay(s_pace, state.Time, cancellationToken);
            }
        }
        finally
        {
            Interlocked.Decrement(ref _listeners);
        }
    }

    private byte[] Overview(FleetModel model) => Fresh(ref _overview, model, () => DashboardJson.Overview(model, state));

    private byte[] Nodes(FleetModel model) => Fresh(ref _nodes, model, () =>
    {
        var all = model.NodesAfter(-1) ?? ([], [], 0);
        return DashboardJson.Of(json =>
        {
            json.WriteStartObject();
            json.WriteNumber("order", all.Order);
            DashboardJson.Nodes(json, all.Changed);
            json.WriteEndObject();
        });
    });

    private static byte[] Devices(FleetModel model) => DashboardJson.Of(json =>
    {
        json.WriteStartObject();
        DashboardJson.Devices(json, model.Devices());
        json.WriteEndObject();
    });

    private byte[] Fresh(ref Kept? kept, FleetModel model, Func<byte[]> make)
    {
        lock (_gate)
        {
            if (kept is null || kept.Model != model || state.Time.GetElapsedTime(kept.At) >= s_fresh)
                kept = new Kept(model, state.Time.GetTimestamp(), make());
            return kept.Bytes;
        }
    }

    private static async Task JsonAsync(HttpContext context, byte[] bytes, CancellationToken cancellationToken)
    {
        context.Response.ContentType = "application/json; charset=utf-8";
        context.Response.Headers.Vary = "Accept-Encoding";
        if (bytes.Length < 16_384 || !context.Request.Headers.AcceptEncoding.ToString().Contains("gzip", StringComparison.OrdinalIgnoreCase))
        {
            context.Response.ContentLength = bytes.Length;
            await context.Response.Body.WriteAsync(bytes, cancellationToken);
            return;
        }

        context.Response.Headers.ContentEncoding = "gzip";
        await using var zip = new GZipStream(context.Response.Body, CompressionLevel.Fastest);
        await zip.WriteAsync(bytes, cancellationToken);
    }

    private sealed record Kept(FleetModel Model, long At, byte[] Bytes);

    /// <summary>What one page looks at, and what it knows of that.</summary>
    private sealed class Listener(long nodesAfter, string node, string[] device, bool devices, bool events, bool services)
    {
        private long _nodes = nodesAfter;
        private long _events;
        private long _devices = -1;
        private int _looks;
        private long _device = -1;
        private byte[] _overview = [];
        private byte[] _node = [];
        private byte[] _clients = [];

        public void Collect(DashboardServer server, FleetModel model, StringBuilder text)
        {
            var state = server.State;
            var orders = model.Orders;
            // Whole lists go at every fifth look, 2 s apart, and those of thousands less often still.
            var isSlow = _looks++ % Math.Max(5, model.DeviceCount / 500) == 0;
            if (server.Overview(model) is var overview && !overview.AsSpan().SequenceEqual(_overview))
                Say(text, "overview", _overview = overview);
            if (_nodes >= 0 && orders.Nodes > _nodes)
                Nodes(model, text);
            if (node.Length > 0 && model.Node(node) is { } view && DashboardJson.Node(model, view, state) is var bytes && !bytes.AsSpan().SequenceEqual(_node))
                Say(text, "node", _node = bytes);
            if (device.Length == 2 && model.Device(device[0], device[1]) is { } found && found.Order > _device)
            {
                _device = found.Order;
                Say(text, "device", DashboardJson.Device(found.Device, found.Status));
            }

            if (devices && isSlow && orders.Devices > _devices)
            {
                _devices = orders.Devices;
                Say(text, "devices", DashboardServer.Devices(model));
            }

            if (events && orders.Events > _events)
            {
                Say(text, "events", DashboardJson.Events(model.EventsAfter(_events)));
                _events = orders.Events;
            }

            if (services && isSlow && DashboardJson.Services(model, state) is var all && !all.AsSpan().SequenceEqual(_clients))
            {
                Say(text, "services", _clients = all);
            }
        }

        private void Nodes(FleetModel model, StringBuilder text)
        {
            var after = model.NodesAfter(_nodes);
            _nodes = after?.Order ?? model.Order;
            Say(text, "nodes", DashboardJson.Of(json =>
            {
                json.WriteStartObject();
                if (after is not { } changes)
                {
                    json.WriteBoolean("reset", true);
                }
                else
                {
                    DashboardJson.Nodes(json, changes.Changed);
                    json.WriteStartArray("gone");
                    foreach (var name in changes.Gone)
                        json.WriteStringValue(name);
                    json.WriteEndArray();
                }

                json.WriteEndObject();
            }));
        }

        // JSON has no line breaks of its own here: the writer is not indented.
        private static void Say(StringBuilder text, string name, byte[] json) => text.Append("event: ").Append(name).Append("\ndata: ").Append(Encoding.UTF8.GetString(json)).Append("\n\n");
    }

    private DashboardState State => state;
}
