using System.Collections.Concurrent;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>A request for the cloud's API.</summary>
/// <param name="Target">Path and query.</param>
/// <param name="Token">Who asks; empty: this node.</param>
internal sealed record CloudRequest(KubeRequest Request, string Method, string Target, string Accept, string ContentType, ReadOnlyMemory<byte> Body, string Token)
{
    public override string ToString() => $"{Method} {Target}";
}

/// <summary>The API's answer, whatever its status is.</summary>
internal sealed record CloudReply(int Code, string ContentType, ReadOnlyMemory<byte> Body)
{
    public bool IsGood => Code is >= 200 and < 300;
}

/// <summary>The way to the Kubernetes API through cloudcore (kubeedge-wire §3.3). Safe for concurrent calls.</summary>
internal sealed class CloudGate(IHubLink hub, string node, TimeProvider time)
{
    // Parts of a watch's answer that wait for its client.
    private const int PartsMax = 256;
    private static readonly TimeSpan s_within = TimeSpan.FromSeconds(10);
    private readonly ConcurrentDictionary<string, Channel<ApplicationMessage>> _watches = new();

    public int Watches => _watches.Count;

    public bool IsConnected => hub.IsConnected;

    /// <summary>Asks once.</summary>
    /// <exception cref="UplinkException">The cloud is away, does not answer within 10 s, or does not pass requests on.</exception>
    public async Task<CloudReply> SendAsync(CloudRequest request, CancellationToken cancellationToken)
        => Read(await AskAsync(Application(request, request.Request.Verb == "watch" ? "list" : request.Request.Verb), cancellationToken));

    /// <summary>Begins a watch. The parts of its answer, whole lines each, end when the API, the cloud or the link ends it, or when the reader is too slow.</summary>
    /// <exception cref="UplinkException">As <see cref="SendAsync"/>, or the cloud is a stock one.</exception>
    public async Task<(CloudReply Reply, CloudWatch? Watch)> WatchAsync(CloudRequest request, CancellationToken cancellationToken)
    {
        if (hub.IsConnected && !hub.IsEdgeWire)
            throw new UplinkException("this cloud sends watches as objects of the node; list again instead");
        var application = Application(request, "watch");
        var parts = Channel.CreateBounded<ApplicationMessage>(new BoundedChannelOptions(PartsMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
        _watches[application.Id] = parts;
        var isOpen = false;
        try
        {
            var reply = Read(await AskAsync(application, cancellationToken));
            isOpen = reply.IsGood;
            return (reply, isOpen ? new CloudWatch(parts.Reader, () => EndAsync(application)) : null);
        }
        finally
        {
            if (!isOpen)
                _watches.TryRemove(application.Id, out _);
        }
    }

    /// <summary>Takes a part of a watch's answer; on the link's receiving loop, never waits.</summary>
    public void Receive(Message message)
    {
        if (ApplicationMessage.TryRead(message.Content, out _) is not { } part || !_watches.TryGetValue(part.Id, out var parts))
            return;
        if (part.Status == ApplicationMessage.Completed || !parts.Writer.TryWrite(part))
            parts.Writer.TryComplete();
    }

    /// <summary>The link is down: every watch ends.</summary>
    public void LinkDown()
    {
        foreach (var parts in _watches.Values)
            parts.Writer.TryComplete();
    }

    private async ValueTask EndAsync(ApplicationMessage application)
    {
        if (_watches.TryRemove(application.Id, out _) && hub.IsConnected)
        {
            try
            {
                var done = application with { Status = ApplicationMessage.Completed, RequestBody = default, Http = null };
                await hub.SendAsync(Message.Create(time, Sources.MetaServer, Groups.DynamicController, "null", ApplicationMessage.RequestResource, done.Write()), CancellationToken.None);
            }
            catch (UplinkException)
            {
                // The cloud ends it with the session.
            }
        }
    }

    private async Task<ApplicationMessage> AskAsync(ApplicationMessage application, CancellationToken cancellationToken)
    {
        var message = Message.Create(time, Sources.MetaServer, Groups.DynamicController, "null", ApplicationMessage.RequestResource, application.Write());
        var answer = await hub.RequestUnacknowledgedAsync(message, s_within, cancellationToken);
        if (answer.Operation != Operations.ApplicationResponse)
        {
            var read = CloudAnswer.Read(answer);
            throw new UplinkException(read.Reason == "MethodNotAllowed"
                ? "cloudcore does not pass requests of MetaServers on; set modules.dynamicController.enable to true there" : $"cloudcore answered: {(read.Text.Length > 0 ? read.Text : answer.Operation)}");
        }

        return ApplicationMessage.TryRead(answer.Content, out var error) ?? throw new UplinkException($"cloudcore's answer cannot be read: {error}");
    }

    private ApplicationMessage Application(CloudRequest request, string verb)
    {
        var kube = request.Request;
        // A stock cloud reads what HTTP says from these; an Edge one from Http.
        var option = Query(request.Target);
        if (verb == "patch")
            option = new JsonObject { ["Name"] = kube.Name, ["PatchType"] = request.ContentType, ["Subresources"] = kube.Subresource.Length > 0 ? new JsonArray(kube.Subresource) : new JsonArray() };
        return new ApplicationMessage
        {
            Id = Guid.NewGuid().ToString("N"),
            Key = kube.Key,
            Verb = verb == "update" && kube.Subresource == "status" ? "updatestatus" : verb,
            NodeName = node,
            Option = Encoding.UTF8.GetBytes(option.ToJsonString()),
            RequestBody = request.Body,
            Subresource = kube.Subresource,
            Status = ApplicationMessage.InApplying,
            // A token is nothing for a cloud that would not use it.
            Http = !hub.IsEdgeWire ? null
                : new ApplicationHttp { Method = request.Method, Target = request.Target, Accept = request.Accept, ContentType = request.ContentType, Token = request.Token },
        };
    }

    private static JsonObject Query(string target)
    {
        var options = new JsonObject();
        var at = target.IndexOf('?', StringComparison.Ordinal);
        foreach (var pair in at < 0 ? [] : target[(at + 1)..].Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var cut = pair.IndexOf('=', StringComparison.Ordinal);
            var (key, value) = cut < 0 ? (pair, "") : (pair[..cut], Uri.UnescapeDataString(pair[(cut + 1)..].Replace('+', ' ')));
            if (key is "labelSelector" or "fieldSelector" or "resourceVersion" or "continue")
                options[key] = value;
            else if (key == "limit" && long.TryParse(value, out var limit))
                options[key] = limit;
        }

        return options;
    }

    private static CloudReply Read(ApplicationMessage answer)
    {
        if (answer.Http is { } http)
            return new CloudReply(http.Code, http.ContentType.Length > 0 ? http.ContentType : "application/json", answer.ResponseBody);
        if (answer.Status == ApplicationMessage.Approved || (answer.Status != ApplicationMessage.Rejected && answer.ErrorStatus is null))
            return new CloudReply(200, "application/json", answer.ResponseBody);
        var status = answer.ErrorStatus ?? new MetaServerException(500, "InternalError", answer.Reason).ToStatus();
        status["kind"] ??= "Status";
        status["apiVersion"] ??= "v1";
        return new CloudReply((int)status.Number(500, "code"), "application/json", Encoding.UTF8.GetBytes(status.ToJsonString()));
    }
}

/// <summary>An open watch through the cloud.</summary>
internal sealed class CloudWatch(ChannelReader<ApplicationMessage> parts, Func<ValueTask> end) : IAsyncDisposable
{
    private long _next;

    /// <summary>The next part: lines of the API's answer. Null when the watch is over, or a part is missing, which ends it too.</summary>
    public async ValueTask<ReadOnlyMemory<byte>?> ReadAsync(CancellationToken cancellationToken)
        => await parts.WaitToReadAsync(cancellationToken) && parts.TryRead(out var part) && part.Http?.Sequence == _next++
            ? part.ResponseBody : (ReadOnlyMemory<byte>?)null; // a bare null would be an empty part, and the watch would never end

    public ValueTask DisposeAsync() => end();
}
