using System.Buffers;
using System.Collections.Concurrent;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.DynamicController;

/// <summary>The API for the MetaServers of nodes (kubeedge-wire §3.3): passes their requests on and the answers back, with watches line by line.</summary>
/// <remarks>
/// <para>A request of an Edge peer carries the bearer token of whoever asks at the node, and goes to the API with that token alone: the API decides. Without a token the node itself asks, and
/// may read what <see cref="NodeReads"/> lists.</para>
/// <para>Safe for concurrent calls. What a session asked for ends with it; an Edge peer then asks again.</para>
/// </remarks>
internal sealed class ApplicationService(KubeProxy api, TimeProvider time, HubMetrics metrics, ILogger logger) : IAsyncDisposable
{
    // Of one node.
    private const int RequestsMax = 64;
    private const int WatchesMax = 256;

    // An answer goes in one message, as base64 in JSON, and compresses well; a message has at most 16 MiB.
    private const int AnswerMax = 8 * 1024 * 1024;
    private const int PartMax = 256 * 1024;

    // A watch waits while so many messages of the node wait.
    private const int WaitingMax = 64;
    private static readonly TimeSpan s_requestWithin = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(20);

    private readonly ConcurrentDictionary<ISyncSession, Peer> _peers = new();
    private readonly CancellationTokenSource _stop = new();
    private long _requests;
    private long _rejected;

    /// <summary>Figures in Prometheus' text form.</summary>
    public string Render()
    {
        var watches = _peers.Values.Sum(peer => peer.Watches.Count);
        return string.Create(CultureInfo.InvariantCulture, $"""
            # HELP edge_dynamiccontroller_requests_total Requests of nodes' MetaServers.
            # TYPE edge_dynamiccontroller_requests_total counter
            edge_dynamiccontroller_requests_total {Interlocked.Read(ref _requests)}
            # HELP edge_dynamiccontroller_rejected_total Requests that were not passed on: not allowed to a node, too many at once, or malformed.
            # TYPE edge_dynamiccontroller_rejected_total counter
            edge_dynamiccontroller_rejected_total {Interlocked.Read(ref _rejected)}
            # HELP edge_dynamiccontroller_watches Watches of nodes' MetaServers that are open.
            # TYPE edge_dynamiccontroller_watches gauge
            edge_dynamiccontroller_watches {watches}

            """);
    }

    /// <summary>Takes a message of a node. Never waits.</summary>
    public void Receive(ISyncSession session, Message message)
    {
        Interlocked.Increment(ref _requests);
        if (ApplicationMessage.TryRead(message.Content, out var error) is not { } application)
        {
            Reject(session, message, new ApplicationMessage(), new KubeException(400, "BadRequest", error));
            return;
        }

        var peer = _peers.GetOrAdd(session, _ => new Peer());
        if (application.Status == ApplicationMessage.Completed)
        {
            if (peer.Watches.TryGetValue(application.Id, out var ended))
                ended.Cancel();
            return;
        }

        if (application.Verb == "watch" && !session.IsEdgeWire)
        {
            // A stock edge wants its events as objects that it acknowledges, without end.
            Reject(session, message, application, new KubeException(405, "MethodNotAllowed", "watches are served to nodes with Edge's EdgeCore"));
            return;
        }

        if (Interlocked.Increment(ref peer.Running) > RequestsMax || peer.Watches.Count >= WatchesMax)
        {
            Interlocked.Decrement(ref peer.Running);
            Reject(session, message, application, new KubeException(429, "TooManyRequests", $"node '{session.Node}' has {RequestsMax} requests or {WatchesMax} watches under way, which is the most"));
            return;
        }

        _ = ServeAsync(session, peer, message, application); // ends with the session or the stop; it does not throw
    }

    /// <summary>The session is over: what it asked for ends.</summary>
    public void Ended(ISyncSession session)
    {
        if (_peers.TryRemove(session, out var peer))
            peer.Stop.Cancel();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var session in _peers.Keys)
            Ended(session);
        api.Dispose();
        _stop.Dispose();
    }

    private async Task ServeAsync(ISyncSession session, Peer peer, Message message, ApplicationMessage application)
    {
        var isCounted = true;
        var what = application.Http?.ToString() ?? $"{application.Verb} {application.Key}";
        try
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(peer.Stop.Token, _stop.Token);
            var http = application.Http is { } own && session.IsEdgeWire ? own : StockRequest.Read(application, out var unreadable) ?? throw new KubeException(400, "BadRequest", unreadable);
            if (!http.Target.StartsWith('/') || http.Method is not ("GET" or "HEAD" or "POST" or "PUT" or "PATCH" or "DELETE"))
                throw new KubeException(400, "BadRequest", $"'{http.Method} {http.Target}' is no request");
            if (http.Token.Length == 0 && NodeReads.Refuse(session.Node, http.Method, http.Target, application.RequestBody) is { } why)
            {
                metrics.Forbidden();
                DynamicLog.Forbidden(logger, session.Node, what, why);
                throw new KubeException(403, "Forbidden", why);
            }

            using var within = new CancellationTokenSource(s_requestWithin, time);
            using var both = CancellationTokenSource.CreateLinkedTokenSource(stop.Token, within.Token);
            using var response = await api.SendAsync(new HttpMethod(http.Method), http.Target, http.Accept, http.ContentType, application.RequestBody, http.Token, both.Token);
            if (application.Verb == "watch" && response.IsSuccessStatusCode)
            {
                Interlocked.Decrement(ref peer.Running);
                isCounted = false;
                await WatchAsync(session, peer, message, application, response, stop);
                return;
            }

            await AnswerAsync(session, message, application, response, both.Token);
        }
        catch (KubeException e)
        {
            if (e.Code == 0)
                DynamicLog.NotAnswered(logger, what, session.Node, e.Message);
            Reject(session, message, application, e);
        }
        catch (OperationCanceledException)
        {
            if (!peer.Stop.IsCancellationRequested && !_stop.IsCancellationRequested)
                Reject(session, message, application, new KubeException(504, "Timeout", $"the API did not answer within {s_requestWithin.TotalSeconds:0} s"));
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            Reject(session, message, application, new KubeException(503, "ServiceUnavailable", $"the API's answer broke off: {e.Message}"));
        }
        catch (Exception e) when (e is not OutOfMemoryException) // one request must not leave the node without an answer
        {
            DynamicLog.Defect(logger, what, session.Node, e);
            Reject(session, message, application, new KubeException(500, "InternalError", "cloudcore met a defect, which its log describes (event 1902)"));
        }
        finally
        {
            if (isCounted)
                Interlocked.Decrement(ref peer.Running);
        }
    }

    private async Task AnswerAsync(ISyncSession session, Message message, ApplicationMessage application, HttpResponseMessage response, CancellationToken cancellationToken)
    {
        await using var stream = await response.Content.ReadAsStreamAsync(cancellationToken);
        var body = new ArrayBufferWriter<byte>();
        while (await stream.ReadAsync(body.GetMemory(16 * 1024), cancellationToken) is > 0 and var read)
        {
            body.Advance(read);
            if (body.WrittenCount > AnswerMax)
                throw new KubeException(413, "RequestEntityTooLarge", $"the answer is over {AnswerMax / (1024 * 1024)} MiB; ask with a limit, a namespace or a selector");
        }

        var isGood = response.IsSuccessStatusCode;
        Send(session, message.Id, application with
        {
            Status = isGood ? ApplicationMessage.Approved : ApplicationMessage.Rejected,
            ResponseBody = body.WrittenMemory,
            ErrorStatus = isGood ? null : JsonBytes.TryObject(body.WrittenMemory, out _),
            Http = Answered(response, 0),
        });
    }

    private async Task WatchAsync(
        ISyncSession session, Peer peer, Message message, ApplicationMessage application, HttpResponseMessage response, CancellationTokenSource stop)
    {
        if (!peer.Watches.TryAdd(application.Id, stop))
            throw new KubeException(409, "Conflict", $"there is a watch {application.Id} already");
        var sequence = 0L;
        try
        {
            Send(session, message.Id, application with { Status = ApplicationMessage.Approved, Http = Answered(response, 0) });
            await using var stream = await response.Content.ReadAsStreamAsync(stop.Token);
            var reader = PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: 16 * 1024, leaveOpen: true));
            while (true)
            {
                var read = await reader.ReadAsync(stop.Token);
                var buffer = read.Buffer;
                // Whole lines only, so that each part can be read by itself.
                while (Lines(ref buffer) is { IsEmpty: false } lines)
                {
                    while (session.Depth.Messages > WaitingMax)
                        await Task.Delay(s_look, time, stop.Token);
                    Send(session, "", application with { Status = ApplicationMessage.InProcessing, ResponseBody = lines.ToArray(), Http = Answered(response, sequence++) });
                }

                if (buffer.Length > AnswerMax)
                    throw new IOException($"an event is over {AnswerMax} bytes");
                reader.AdvanceTo(buffer.Start, buffer.End);
                if (read.IsCompleted)
                    break;
            }
        }
        catch (Exception e) when (e is OperationCanceledException or HttpRequestException or IOException)
        {
            // The watch is over; the edge begins another where this one ended.
        }
        finally
        {
            peer.Watches.TryRemove(application.Id, out _);
            Send(session, "", application with { Status = ApplicationMessage.Completed, Http = Answered(response, sequence) });
        }
    }

    // As many whole lines as there are, up to PartMax or else one.
    private static ReadOnlySequence<byte> Lines(ref ReadOnlySequence<byte> buffer)
    {
        var reader = new SequenceReader<byte>(buffer);
        var end = buffer.Start;
        while (reader.TryAdvanceTo((byte)'\n'))
        {
            if (reader.Consumed > PartMax && !end.Equals(buffer.Start))
                break;
            end = reader.Position;
        }

        var lines = buffer.Slice(buffer.Start, end);
        buffer = buffer.Slice(end);
        return lines;
    }

    private static ApplicationHttp Answered(HttpResponseMessage response, long sequence)
        => new() { Code = (int)response.StatusCode, ContentType = response.Content.Headers.ContentType?.ToString() ?? "application/json", Sequence = sequence };

    private void Reject(ISyncSession session, Message message, ApplicationMessage application, KubeException error)
    {
        Interlocked.Increment(ref _rejected);
        var code = error.Code == 0 ? 503 : error.Code;
        var status = error.Status?.DeepClone().AsObject() ?? new JsonObject
        {
            ["kind"] = "Status",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject(),
            ["status"] = "Failure",
            ["message"] = error.Message,
            ["reason"] = error.Code == 0 ? "ServiceUnavailable" : error.Reason,
            ["code"] = code,
        };
        Send(session, message.Id, application with
        {
            Status = ApplicationMessage.Rejected,
            Reason = error.Message,
            ErrorStatus = status,
            ResponseBody = Encoding.UTF8.GetBytes(status.ToJsonString()),
            Http = new ApplicationHttp { Code = code, ContentType = "application/json" },
        });
    }

    // The request's own body and secrets do not go back.
    private void Send(ISyncSession session, string parent, ApplicationMessage application)
        => session.Send(Message.Create(
            time, Sources.DynamicController, Groups.Resource, Operations.ApplicationResponse, ApplicationMessage.AnswerResource,
            (application with { RequestBody = default, Option = default, Http = session.IsEdgeWire ? application.Http : null }).Write()) with { ParentId = parent });

    private sealed class Peer
    {
        public int Running;

        public CancellationTokenSource Stop { get; } = new();

        public ConcurrentDictionary<string, CancellationTokenSource> Watches { get; } = new();
    }
}
