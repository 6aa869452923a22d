using System.Diagnostics;
using System.Threading.Channels;
using Edge.Common.Tracing;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Edge.Transport;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>One connection: greets, keeps alive, sends the queue, takes what comes and answers it. Its end is its own; a later session is another object.</summary>
/// <remarks>At an Edge cloud (<see cref="EdgeWire"/>) the greeting has the inventory's digest, keepalives go where nothing else does and are answered, and silence ends the link. A stock cloud gets a
/// keepalive alone, and the WebSocket's pings find out whether it is there. On a link with lanes the queue has a sender for each.</remarks>
internal sealed class HubSession(
    ILink link, UplinkQueue queue, PendingRequests pending, IMetaMessages meta, ITwinMessages? twin, TimeSpan heartbeat, TimeProvider time, ILogger log)
{
    // Beats without a sign of the cloud after which the link is dead.
    private const int BeatsMissedMax = 2;

    // Answers that go out together.
    private const int AnswersMax = 128;

    // Objects being committed at once; when full, reading stops and TCP holds the cloud back.
    private readonly Channel<Work> _work = Channel.CreateBounded<Work>(new BoundedChannelOptions(128) { SingleReader = true, SingleWriter = true, FullMode = BoundedChannelFullMode.Wait });

    // The inventory's messages that wait for their answer.
    private volatile SentDigest _digest = new("", 1);
    private string _partId = ""; // the receiving loop's own
    private long _doubts;
    private long _listeningSince; // 0 while it does not listen

    /// <summary>Called each time the cloud has answered an inventory for good; it must be quick. Whatever it sends because of it comes after.</summary>
    public Action? InventorySettled { get; init; }

    /// <summary>Called with the id of each stream that the cloud asks for; it must be quick.</summary>
    public Action<string>? StreamAsked { get; init; }

    /// <summary>Called with each message of group <c>user</c> that answers nothing; it must be quick.</summary>
    public Action<Message>? UserAsked { get; init; }

    /// <summary>Called with each message of group <c>taskmanager</c>; it must be quick.</summary>
    public Action<Message>? TaskAsked { get; init; }

    /// <summary>Called with each part of a watch's answer; must be quick.</summary>
    public Action<Message>? ApplicationAnswered { get; init; }

    /// <summary>Whether the cloud is asked for Services, EndpointSlices, GlobalServices and Zones.</summary>
    public bool WantsServices { get; init; }

    /// <summary>Runs until the link breaks, the peer closes, or the token is cancelled. Returns why it ended.</summary>
    /// <param name="ready">Called once the greeting is out and requests may be sent.</param>
    public async Task<string> RunAsync(Action ready, CancellationToken cancellationToken)
    {
        using var stop = new CancellationTokenSource();
        var worker = WorkAsync(stop.Token);
        var reason = "the link was closed";
        try
        {
            await link.SendAsync(link.IsEdgeWire ? [Keepalive(), Digest()] : [Keepalive()], cancellationToken);
            queue.LinkUp(link.IsEdgeWire);
            ready();
            List<Task> loops = [ReceiveAsync(stop.Token), KeepAliveAsync(stop.Token)];
            if (link.HasLanes)
                loops.AddRange(Enum.GetValues<LinkLane>().Select(lane => SendQueueAsync(lane, UplinkRange.Of(lane), stop.Token)));
            else
                loops.Add(SendQueueAsync(LinkLane.Control, UplinkRange.All, stop.Token));
            if (link.IsEdgeWire)
                loops.Add(WatchAsync(stop.Token));
            var cancelled = Task.Delay(Timeout.InfiniteTimeSpan, time, cancellationToken);
            var first = await Task.WhenAny([cancelled, .. loops]);
            // Closed before the reads are cancelled: a cancelled read cuts the socket, and the peer would not learn why.
            if (first == cancelled)
                await link.CloseAsync("the node is stopping or has a new certificate");
            await stop.CancelAsync();
            var silence = time.GetElapsedTime(link.HeardAt);
            reason = await ReasonAsync(first, cancellationToken) ?? reason;
            // Whoever cut it: the watch, the WebSocket's own ping, or a write that had no end.
            if (link.IsEdgeWire && first != cancelled && silence > heartbeat * 1.5)
                reason = $"nothing was heard from the cloud for {silence.TotalSeconds:0.#} s, although it answers each keepalive ({heartbeat.TotalSeconds:0.#} s)";
            foreach (var loop in loops)
                await ReasonAsync(loop, cancellationToken);
        }
        catch (LinkException e)
        {
            reason = e.Message;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            reason = "stopping";
        }
        finally
        {
            queue.LinkDown();
            _work.Writer.TryComplete();
            await stop.CancelAsync();
            await worker;
        }

        return reason;
    }

    private static async Task<string?> ReasonAsync(Task loop, CancellationToken cancellationToken)
    {
        try
        {
            await loop;
            return null;
        }
        catch (LinkException e)
        {
            return e.Message;
        }
        catch (OperationCanceledException)
        {
            return cancellationToken.IsCancellationRequested ? "stopping" : null;
        }
    }

    private Message Keepalive() => Message.Create(time, Sources.WebSocket, Groups.Resource, Operations.Keepalive, "node", MessageCodec.JsonString("ping"));

    // An Edge cloud takes whatever comes for a sign of life and answers leases: as long as something goes and comes within each beat, a keepalive would say nothing new.
    private async Task KeepAliveAsync(CancellationToken cancellationToken)
    {
        var beatAt = time.GetTimestamp();
        for (var wait = heartbeat; ; wait = heartbeat - time.GetElapsedTime(beatAt))
        {
            await Task.Delay(wait, time, cancellationToken);
            if (link.IsEdgeWire && meta.Doubts != _doubts)
            {
                await link.SendAsync([Keepalive(), Digest()], cancellationToken);
            }
            else
            {
                var quietSince = link.IsEdgeWire ? Math.Max(beatAt, Math.Min(link.HeardAt, link.WroteAt)) : beatAt;
                if (time.GetElapsedTime(quietSince) < heartbeat)
                {
                    beatAt = quietSince;
                    continue;
                }

                await link.SendAsync(Keepalive(), cancellationToken);
            }

            beatAt = time.GetTimestamp();
        }
    }

    // An Edge cloud says something each beat: it answers keepalives. Cut, not closed: nobody is there to answer a close.
    private async Task WatchAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            // While what came waits for the disk, nothing is read: that is not the cloud's silence.
            var since = Volatile.Read(ref _listeningSince);
            var left = (heartbeat * BeatsMissedMax) - (since == 0 ? TimeSpan.Zero : time.GetElapsedTime(Math.Max(since, link.HeardAt)));
            if (left <= TimeSpan.Zero)
            {
                link.Abort();
                throw new LinkException($"nothing was heard from the cloud for {BeatsMissedMax} beats");
            }

            await Task.Delay(left, time, cancellationToken);
        }
    }

    // Sent with the greeting, and again when an object came whose version went back.
    private Message Digest()
    {
        _doubts = meta.Doubts;
        var (count, digest) = meta.InventoryDigest();
        var message = Message.Create(time, Sources.MetaManager, Groups.Resource, Operations.Get, InventoryMessages.DigestResource, InventoryMessages.WriteDigest(count, digest, WantsServices, (int)heartbeat.TotalMilliseconds));
        _digest = new SentDigest(message.Id, digest.Buckets);
        return message;
    }

    private async Task SendQueueAsync(LinkLane lane, UplinkRange range, CancellationToken cancellationToken)
    {
        while (true)
        {
            while (queue.TakeBatch(range) is { Messages.Count: > 0 } batch)
            {
                await link.SendAsync(batch.Messages, cancellationToken);
                queue.Sent(batch.Sends);
            }

            var due = queue.NextDue(range);
            if (due == TimeSpan.Zero)
                continue;
            using var wait = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var wake = queue.Wake(lane).WaitToReadAsync(wait.Token).AsTask();
            var timer = Task.Delay(due ?? Timeout.InfiniteTimeSpan, time, wait.Token);
            await Task.WhenAny(wake, timer);
            await wait.CancelAsync();
            queue.Wake(lane).TryRead(out _);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    private async Task ReceiveAsync(CancellationToken cancellationToken)
    {
        Volatile.Write(ref _listeningSince, time.GetTimestamp());
        while (await link.ReceiveAsync(reason => HubLog.Malformed(log, reason), cancellationToken) is { } message)
        {
            HubLog.Received(log, message.Operation, message.Resource, message.Id);
            if (Dispatch(message) is not { } work || _work.Writer.TryWrite(work))
                continue;
            Volatile.Write(ref _listeningSince, 0);
            await _work.Writer.WriteAsync(work, cancellationToken);
            Volatile.Write(ref _listeningSince, time.GetTimestamp());
        }
    }

    // kubeedge-wire §1.6. Commits start here, in the order of arrival; answers go out in the same order.
    private Work? Dispatch(Message message)
    {
        if (message.ParentId.Length > 0)
        {
            if (message.ParentId == _digest.Id)
                return InventoryPart(message) is { } part ? new Work(message, Answer: part) : null;
            if (message.ParentId == _partId)
            {
                InventorySettled?.Invoke();
                return null;
            }

            if (pending.TryAnswer(message, out var sequence, out var acknowledge))
                return new Work(message, Handling: HandleRequestAnswerAsync(message, sequence, acknowledge));
            if (message.Operation == Operations.ApplicationResponse)
                return null; // too late, and nothing that the store keeps
            return new Work(message, Handling: HandleUplinkAnswerAsync(message));
        }

        if (message.Operation == Operations.Keepalive)
            return null;
        if (message.Operation == Operations.ApplicationResponse)
        {
            ApplicationAnswered?.Invoke(message);
            return null;
        }

        switch (message.Group)
        {
            case Groups.Resource or "func":
                return new Work(message, Handling: message.Trace is null ? meta.HandleAsync(message) : HandleTracedAsync(message));
            case Groups.Twin when twin is not null:
                return new Work(message, IsTwin: true);
            case Groups.Stream when StreamAsked is not null && message.Resource.StartsWith(NodeStreamWire.ResourcePrefix, StringComparison.Ordinal):
                StreamAsked(message.Resource[NodeStreamWire.ResourcePrefix.Length..]);
                return null;
            case Groups.User when UserAsked is not null:
                UserAsked(message);
                return null;
            case NodeTaskWire.TaskManager when TaskAsked is not null:
                TaskAsked(message);
                return null;
            // Of a module that is off here.
            case Groups.Twin or Groups.User or Groups.Stream or NodeTaskWire.TaskManager:
                HubLog.NoReceiver(log, message.Id, message.Group, message.Operation, message.Resource);
                return null;
            default:
                HubLog.UnknownGroup(log, message.Id, Shorten(message.Group), Shorten(message.Operation), Shorten(message.Resource));
                return null;
        }
    }

    private static string Shorten(string text) => text.Length > 100 ? text[..100] : text;

    private async Task<Message?> HandleTracedAsync(Message message)
    {
        using var span = EdgeTrace.Continue("store object", ActivityKind.Consumer, message.Trace);
        span?.SetTag("edge.resource", message.Resource);
        return await meta.HandleAsync(message);
    }

    /// <summary>The "OK" that stock edges send for answers to their own requests; null where they send none (patches, twin answers), and at an Edge cloud where the
    /// answer itself was but "OK".</summary>
    public Message? Acknowledgement(Message answer)
        => answer.Group == Groups.Resource && !(link.IsEdgeWire && answer.Content.Span.SequenceEqual(MessageCodec.Ok.Span)) && !(ResourcePath.TryParse(answer.Resource, out var path) && path.Type is ResourceTypes.NodePatch or ResourceTypes.PodPatch)
            ? answer.Response(time, MessageCodec.Ok)
            : null;

    // The third message of the inventory, or null when the cloud wants none.
    private Message? InventoryPart(Message answer)
    {
        var why = "";
        var of = _digest.Buckets;
        var buckets = answer.Operation == Operations.Error ? null : InventoryMessages.ReadAsk(answer.Content, of, out why);
        if (buckets is null)
        {
            HubLog.BadInventoryAnswer(log, why.Length > 0 ? why : CloudAnswer.Read(answer).Text);
            return null;
        }

        if (buckets.Count == 0)
        {
            InventorySettled?.Invoke();
            return null;
        }

        var part = meta.InventoryPart(of, buckets);
        HubLog.InventoryAsked(log, buckets.Count, of, part.Items.Count);
        var message = Message.Create(time, Sources.MetaManager, Groups.Resource, Operations.Get, InventoryMessages.PartResource, InventoryMessages.WritePart(part));
        _partId = message.Id;
        return message;
    }

    private async Task WorkAsync(CancellationToken stopping)
    {
        // Not cancelled: what was taken is finished, so that twin messages are not lost; answers after the end of the link are not sent.
        var answers = new List<Message>(AnswersMax);
        while (await _work.Reader.WaitToReadAsync(CancellationToken.None))
        {
            while (_work.Reader.TryRead(out var work))
            {
                // What one commit has made ready goes out together, and none of it waits for the next commit.
                if (work.Handling is { IsCompleted: false } || answers.Count >= AnswersMax)
                    await SendAnswersAsync(answers, stopping);
                if (await FinishAsync(work) is { } answer)
                    answers.Add(answer);
            }

            await SendAnswersAsync(answers, stopping);
        }
    }

    private async ValueTask<Message?> FinishAsync(Work work)
    {
        try
        {
            if (work.Handling is not null)
                return await work.Handling;
            if (work.IsTwin)
                await twin!.HandleAsync(work.Message);
            return work.Answer;
        }
        catch (Exception e) // one message that a handler cannot take must not end the link for all others
        {
            HubLog.HandlerFailed(log, work.Message.Operation, work.Message.Resource, e);
            return null;
        }
    }

    private async ValueTask SendAnswersAsync(List<Message> answers, CancellationToken stopping)
    {
        if (answers.Count == 0)
            return;
        try
        {
            if (!stopping.IsCancellationRequested)
                await link.SendAsync(answers, stopping);
        }
        catch (Exception e) when (e is LinkException or OperationCanceledException)
        {
            HubLog.AckNotSent(log, answers[0].Resource, e.Message);
        }

        answers.Clear();
    }

    // Started when the answer comes, so that answers which come together share a commit.
    private async Task<Message?> HandleRequestAnswerAsync(Message message, long sequence, bool acknowledge)
    {
        await queue.ProvedAsync(sequence);
        return acknowledge ? Acknowledgement(message) : null;
    }

    private async Task<Message?> HandleUplinkAnswerAsync(Message message)
    {
        if (await queue.AnswerAsync(message))
            return Acknowledgement(message);
        // An answer nobody waits for any more may still carry an object; MetaManager keeps it, so that its "OK" is true.
        return message.Group == Groups.Resource && Acknowledgement(message) is not null ? await meta.HandleAsync(message) : null;
    }

    private sealed record SentDigest(string Id, int Buckets);

    private sealed record Work(Message Message, Task<Message?>? Handling = null, bool IsTwin = false, Message? Answer = null);
}
