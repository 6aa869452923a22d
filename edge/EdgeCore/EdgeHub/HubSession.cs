using System.Threading.Channels;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>One connection: greets, keeps alive, sends the queue, takes what comes and answers it. Its end is its own; a later session is another object.</summary>
internal sealed class HubSession(
    ILink link, UplinkQueue queue, PendingRequests pending, IMetaMessages meta, ITwinMessages? twin, TimeSpan heartbeat, TimeProvider time, ILogger log)
{
    // Objects being committed at once; when full, reading stops and TCP holds the cloud back.
    private readonly Channel<Work> _work = Channel.CreateBounded<Work>(new BoundedChannelOptions(128) { SingleReader = true, SingleWriter = true, FullMode = BoundedChannelFullMode.Wait });

    /// <summary>Runs until the link breaks, the peer closes, or the token is cancelled. Returns why it ended.</summary>
    /// <param name="ready">Called once the greeting is out and requests may be sent.</param>
    public async Task<string> RunAsync(Action ready, CancellationToken cancellationToken)
    {
        using var stop = new CancellationTokenSource();
        var worker = WorkAsync(stop.Token);
        var reason = "the link was closed";
        try
        {
            await link.SendAsync(Keepalive(), cancellationToken);
            await link.SendAsync(Message.Create(time, Sources.MetaManager, Groups.Resource, Operations.Get, "node/inventory", meta.Inventory()), cancellationToken);
            queue.LinkUp();
            ready();
            Task[] loops = [ReceiveAsync(stop.Token), SendQueueAsync(stop.Token), KeepAliveAsync(stop.Token)];
            var cancelled = Task.Delay(Timeout.InfiniteTimeSpan, time, cancellationToken);
            var first = await Task.WhenAny([cancelled, .. loops]);
            // Closed before the reads are cancelled: a cancelled read cuts the socket, and the peer would not learn why.
            if (first == cancelled)
                await link.CloseAsync("the node is stopping or has a new certificate");
            await stop.CancelAsync();
            reason = await ReasonAsync(first, cancellationToken) ?? reason;
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

    private async Task KeepAliveAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            await Task.Delay(heartbeat, time, cancellationToken);
            await link.SendAsync(Keepalive(), cancellationToken);
        }
    }

    private async Task SendQueueAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            while (queue.TakeNext() is { } next)
            {
                await link.SendAsync(next.Message, cancellationToken);
                queue.Sent(next.Send);
            }

            var due = queue.NextDue();
            if (due == TimeSpan.Zero)
                continue;
            using var wait = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var wake = queue.Wake.WaitToReadAsync(wait.Token).AsTask();
            var timer = Task.Delay(due ?? Timeout.InfiniteTimeSpan, time, wait.Token);
            await Task.WhenAny(wake, timer);
            await wait.CancelAsync();
            queue.Wake.TryRead(out _);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    private async Task ReceiveAsync(CancellationToken cancellationToken)
    {
        while (await link.ReceiveAsync(reason => HubLog.Malformed(log, reason), cancellationToken) is { } message)
        {
            HubLog.Received(log, message.Operation, message.Resource, message.Id);
            if (Dispatch(message) is { } work)
                await _work.Writer.WriteAsync(work, cancellationToken);
        }
    }

    // kubeedge-wire §1.6. Commits start here, in the order of arrival; answers go out in the same order.
    private Work? Dispatch(Message message)
    {
        if (message.ParentId.Length > 0)
        {
            if (pending.TryAnswer(message, out var sequence, out var acknowledge))
                return new Work(message, Proved: sequence, Answer: acknowledge ? Acknowledgement(message) : null);
            return new Work(message, IsUplinkAnswer: true);
        }

        switch (message.Group)
        {
            case Groups.Resource or "func":
                return new Work(message, Handling: meta.HandleAsync(message));
            case Groups.Twin when twin is not null:
                return new Work(message, IsTwin: true);
            default:
                HubLog.NoReceiver(log, message.Id, message.Group, message.Operation, message.Resource);
                return null;
        }
    }

    /// <summary>The "OK" that stock edges send for answers to their own requests; null where they send none (patches, twin answers).</summary>
    public Message? Acknowledgement(Message answer)
        => answer.Group == Groups.Resource && !(ResourcePath.TryParse(answer.Resource, out var path) && path.Type is ResourceTypes.NodePatch or ResourceTypes.PodPatch)
            ? answer.Response(time, MessageCodec.Ok)
            : null;

    private async Task WorkAsync(CancellationToken stopping)
    {
        // Not cancelled: what was taken is finished, so that twin messages are not lost; answers after the end of the link are not sent.
        await foreach (var work in _work.Reader.ReadAllAsync(CancellationToken.None))
        {
            try
            {
                var answer = work.Answer;
                if (work.Proved is { } sequence)
                    await queue.ProvedAsync(sequence);
                else if (work.IsUplinkAnswer)
                    answer = await HandleUplinkAnswerAsync(work.Message);
                else if (work.IsTwin)
                    await twin!.HandleAsync(work.Message);
                else
                    answer = await work.Handling!;
                if (answer is not null && !stopping.IsCancellationRequested)
                    await link.SendAsync(answer, stopping);
            }
            catch (Exception e) when (e is LinkException or OperationCanceledException)
            {
                HubLog.AckNotSent(log, work.Message.Resource, e.Message);
            }
            catch (Exception e) // one message that a handler cannot take must not end the link for all others
            {
                HubLog.HandlerFailed(log, work.Message.Operation, work.Message.Resource, e);
            }
        }
    }

    private async ValueTask<Message?> HandleUplinkAnswerAsync(Message message)
    {
        if (await queue.AnswerAsync(message))
            return Acknowledgement(message);
        // An answer nobody waits for any more may still carry an object; MetaManager keeps it, so that its "OK" is true.
        return message.Group == Groups.Resource ? await meta.HandleAsync(message) : null;
    }

    private sealed record Work(Message Message, Task<Message?>? Handling = null, bool IsTwin = false, bool IsUplinkAnswer = false, long? Proved = null, Message? Answer = null);
}
