using System.Diagnostics.Metrics;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Cloud.EdgeController;
using Edge.Cloud.SyncController;
using Edge.Common;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.NodeTasks;

/// <summary>Node tasks (kubeedge-wire §5.8): the leader decides by <see cref="JobCore"/> which nodes are to work, every cloudcore hands their tasks to the nodes that are connected to
/// it, and writes what they tell. The jobs' status is all that these share, so a node may be at another cloudcore than the leader, and a restart loses nothing.</summary>
/// <remarks>A node gets its task once a session while it is in progress. An Edge peer knows by the job's uid that it has it already; a stock edge would begin anew, so it gets the task
/// again only until it has told anything.</remarks>
internal sealed class NodeTaskService : IAsyncDisposable
{
    private const int ReportsMax = 1024;
    private const int WritesMax = 8;
    private static readonly TimeSpan s_together = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan s_retryFirst = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_retryMost = TimeSpan.FromMinutes(1);

    // What a missed wake would have done is done by then.
    private static readonly TimeSpan s_again = TimeSpan.FromMinutes(5);

    private readonly IKubeClient _kube;
    private readonly Func<string, ISyncSession?> _sessionOf;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _logger;
    private readonly List<(TaskKind Kind, Informer Jobs)> _jobs = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Meter _meter = new("Edge.Cloud.NodeTasks");
    private readonly Counter<long> _sentCount;
    private readonly Counter<long> _reportCount;

    // One wake for any number of changes.
    private readonly Channel<bool> _deliver = Wake();
    private readonly Channel<bool> _lead = Wake();

    // Wait: full, the lane of the node that reports waits, and with it the node's own queue.
    private readonly Channel<Pending> _reports = Channel.CreateBounded<Pending>(new BoundedChannelOptions(ReportsMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
    private readonly Dictionary<(string Uid, string Node), ISyncSession> _sent = []; // the delivering loop's own
    private readonly Task _running;

    /// <summary>Begins to watch; deliveries begin by themselves.</summary>
    /// <param name="sessionOf">The session of a node that is connected here, or null.</param>
    public NodeTaskService(IKubeClient kube, Func<string, ISyncSession?> sessionOf, TimeProvider time, Random random, ILogger logger)
    {
        _kube = kube;
        _sessionOf = sessionOf;
        _time = time;
        _random = random;
        _logger = logger;
        _sentCount = _meter.CreateCounter<long>("edge_nodetasks_sent", description: "Tasks handed to nodes");
        _reportCount = _meter.CreateCounter<long>("edge_nodetasks_reports", description: "Reports of nodes about their tasks");
        _meter.CreateObservableGauge("edge_nodetasks_waiting_reports", () => _reports.Reader.Count, description: "Reports of nodes that are not written yet, at most 1024");
        foreach (var kind in TaskKind.All)
        {
            var jobs = new Informer(kube, kind.Resource, null, new ListOptions(), time, new Random(random.Next()), logger);
            _jobs.Add((kind, jobs));
            jobs.Start((_, _) =>
            {
                _deliver.Writer.TryWrite(true);
                _lead.Writer.TryWrite(true);
                return ValueTask.CompletedTask;
            });
        }

        _running = Task.WhenAll(DeliverAsync(_stop.Token), WriteReportsAsync(_stop.Token));
    }

    /// <summary>For <c>/readyz</c>: which kinds of jobs are not read yet or not current any more; null for none.</summary>
    public string? Problem => CloudCoreHost.InformerProblem([.. _jobs.Select(pair => pair.Jobs)]);

    /// <summary>Hears that a node's session began or ended; never waits.</summary>
    public void NodeSession(string node, bool began)
    {
        if (began)
            _deliver.Writer.TryWrite(true);
    }

    /// <summary>Whether the node has a task now that pulls images with this Secret.</summary>
    public bool NeedsSecret(string node, string @namespace, string name)
        => _jobs.Where(pair => pair.Kind == TaskKind.ImagePrePull).SelectMany(pair => pair.Jobs.List()).Any(job =>
            job.Text("spec", "imagePrePullTemplate", "imageSecrets") == $"{@namespace}/{name}" && JobCore.UnderWay(job).Any(task => task.Text("nodeName") == node));

    /// <summary>Writes what a node told; completes when it is stored.</summary>
    /// <exception cref="KubeException">It is malformed or about no job (4xx), or could not be written now.</exception>
    public async Task TakeAsync(string node, Message message, NodeTaskPath path, CancellationToken cancellationToken)
    {
        if (path.Node != node)
            throw Refusals.Forbidden($"node '{node}' may not report for node '{path.Node}'");
        if (TaskKind.OfType(path.Type) is not { } kind)
            throw Refusals.BadRequest($"'{path.Type}' is no type of node tasks");
        if (NodeTaskReport.TryRead(MessageCodec.Unwrap(message.Content), out var error) is not { } report)
            throw Refusals.BadRequest($"the content of {message.Resource} {error}");
        var pending = new Pending(kind, path.Job, node, report);
        _reportCount.Add(1);
        try
        {
            await _reports.Writer.WriteAsync(pending, cancellationToken);
            await pending.Done.Task.WaitAsync(cancellationToken);
        }
        catch (ChannelClosedException)
        {
            throw new KubeException(503, "ServiceUnavailable", "cloudcore is stopping");
        }
    }

    /// <summary>The leader's duty: runs until the token is cancelled.</summary>
    public async Task LeadAsync(CancellationToken cancellationToken)
    {
        await using var nodes = new Informer(_kube, ResourceKind.Node, null, new ListOptions(LabelSelector: PodPlacement.EdgeRoleLabel), _time, new Random(_random.Next()), _logger) { Transform = NodeView };
        nodes.Start((change, _) =>
        {
            // Heartbeats are changes, too.
            if (change.Old is null || change.Type == ChangeType.Deleted || !JsonNode.DeepEquals(change.Old["status"], change.Object["status"]))
                _lead.Writer.TryWrite(true);
            return ValueTask.CompletedTask;
        });
        await Task.WhenAll(_jobs.Select(pair => pair.Jobs.Synced).Append(nodes.Synced)).WaitAsync(cancellationToken);
        var failures = 0;
        while (true)
        {
            var known = nodes.List().Select(node => new TaskNode(
                node.Name(), node.Map("metadata", "labels").ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal), node.Text("status", "ready") == "True")).ToList();
            var next = _time.GetUtcNow() + s_again;
            var isWell = true;
            foreach (var (kind, jobs) in _jobs)
            {
                foreach (var job in jobs.List().Where(job => !job.IsDeleting() && !JobCore.HasEnded(job)))
                {
                    var (isKept, due) = await KeepAsync(kind, job, known, cancellationToken);
                    isWell &= isKept;
                    next = due is { } sooner && sooner < next ? sooner : next;
                }
            }

            failures = isWell ? 0 : failures + 1;
            if (!isWell)
                next = _time.GetUtcNow() + Backoff.FullJitter(failures, s_retryFirst, s_retryMost, _random);
            await WaitAsync(_lead.Reader, next - _time.GetUtcNow(), cancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var (_, jobs) in _jobs)
            await jobs.DisposeAsync();
        await _running;
        _stop.Dispose();
        _meter.Dispose();
    }

    private static Channel<bool> Wake() => Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });

    // First on what is known here, which costs no request when nothing is due.
    private async Task<(bool IsKept, DateTimeOffset? Next)> KeepAsync(TaskKind kind, JsonObject known, List<TaskNode> nodes, CancellationToken cancellationToken)
    {
        try
        {
            var (isDue, next) = JobCore.Advance(kind, known.DeepClone().AsObject(), nodes, _time.GetUtcNow());
            if (!isDue)
                return (true, next);
            var job = await ChangeAsync(kind, known.Name(), fresh =>
            {
                (var isChanged, next) = JobCore.Advance(kind, fresh, nodes, _time.GetUtcNow());
                return isChanged;
            }, cancellationToken);
            NodeTaskLog.Job(_logger, kind.Resource.Kind, job.Name(), job.Text("status", "phase"), job["status"].Items("nodeStatus").Count(), job.Text("status", "reason"));
            return (true, next);
        }
        catch (KubeException e) when (e.Code == 404)
        {
            return (true, null); // deleted: what was not begun never is
        }
        catch (KubeException e)
        {
            NodeTaskLog.Failed(_logger, kind.Resource.Kind, known.Name(), e.Message);
            return (false, null);
        }
        catch (Exception e) when (e is not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
        {
            // One that nobody can keep must not hold up the others.
            NodeTaskLog.Defect(_logger, kind.Resource.Kind, known.Name(), e);
            return (false, null);
        }
    }

    // The leader and every cloudcore write the same status; the version in what was read tells when somebody was faster.
    private async Task<JsonObject> ChangeAsync(TaskKind kind, string name, Func<JsonObject, bool> change, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            var job = await _kube.GetAsync(kind.Resource, null, name, cancellationToken);
            if (!change(job))
                return job;
            try
            {
                return await _kube.UpdateAsync(kind.Resource, null, job, "status", cancellationToken);
            }
            catch (KubeException e) when (e.Code == 409 && attempt < WritesMax)
            {
                // Read again.
            }
        }
    }

    private async Task WriteReportsAsync(CancellationToken cancellationToken)
    {
        var batch = new List<Pending>();
        try
        {
            while (await _reports.Reader.WaitToReadAsync(cancellationToken))
            {
                // Nodes that work at once report at once: one write carries them all.
                await Task.Delay(s_together, _time, cancellationToken);
                while (batch.Count < ReportsMax && _reports.Reader.TryRead(out var pending))
                    batch.Add(pending);
                foreach (var of in batch.GroupBy(one => (one.Kind, one.Job)))
                    await WriteReportsAsync(of.Key.Kind, of.Key.Job, [.. of], cancellationToken);
                batch.Clear();
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping; the edges tell it again.
        }
        finally
        {
            _reports.Writer.TryComplete();
            while (_reports.Reader.TryRead(out var pending))
                batch.Add(pending);
            foreach (var pending in batch)
                pending.Done.TrySetException(new KubeException(503, "ServiceUnavailable", "cloudcore is stopping"));
        }
    }

    private async Task WriteReportsAsync(TaskKind kind, string name, IReadOnlyList<Pending> reports, CancellationToken cancellationToken)
    {
        try
        {
            var problems = new string?[reports.Count];
            await ChangeAsync(kind, name, job =>
            {
                for (var i = 0; i < reports.Count; i++)
                    problems[i] = JobCore.Report(kind, job, reports[i].Node, reports[i].Report, _time.GetUtcNow());
                return problems.Any(problem => problem is null);
            }, cancellationToken);
            for (var i = 0; i < reports.Count; i++)
            {
                var (report, problem) = (reports[i], problems[i]);
                if (problem is null)
                {
                    NodeTaskLog.Reported(_logger, kind.Resource.Kind, name, report.Report.Action, report.Node, report.Report.Succeeded, report.Report.Reason);
                    report.Done.TrySetResult();
                }
                else
                    report.Done.TrySetException(Refusals.BadRequest(problem));
            }
        }
        catch (KubeException e)
        {
            foreach (var report in reports)
                report.Done.TrySetException(e);
        }
        catch (Exception e) when (e is not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
        {
            NodeTaskLog.Defect(_logger, kind.Resource.Kind, name, e);
            foreach (var report in reports)
                report.Done.TrySetException(new KubeException(500, "InternalError", e.Message));
        }
    }

    private async Task DeliverAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await WaitAsync(_deliver.Reader, s_again, cancellationToken);
                var current = new HashSet<(string, string)>();
                foreach (var (kind, jobs) in _jobs)
                {
                    foreach (var job in jobs.List().Where(job => !job.IsDeleting()))
                        Deliver(kind, job, current);
                }

                foreach (var gone in _sent.Keys.Where(key => !current.Contains(key)).ToList())
                    _sent.Remove(gone);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private void Deliver(TaskKind kind, JsonObject job, HashSet<(string, string)> current)
    {
        foreach (var task in JobCore.UnderWay(job))
        {
            var node = task.Text("nodeName");
            var key = (job.Uid(), node);
            current.Add(key);
            if (_sessionOf(node) is not { } session || (_sent.TryGetValue(key, out var before) && ReferenceEquals(before, session)))
                continue;
            _sent[key] = session;
            if (!session.IsEdgeWire && task.Items("actionFlow").Any())
                continue;
            var content = job["spec"]?.DeepClone() as JsonObject ?? [];
            if (session.IsEdgeWire)
                content[NodeTaskWire.JobUid] = job.Uid();
            session.Send(Message.Create(_time, NodeTaskWire.TaskManager, NodeTaskWire.TaskManager, kind.Steps[0], new NodeTaskPath(kind.Type, job.Name(), node).ToString(), JsonBytes.Of(content)));
            _sentCount.Add(1);
            NodeTaskLog.Sent(_logger, kind.Resource.Kind, job.Name(), node);
        }
    }

    private async Task WaitAsync(ChannelReader<bool> wake, TimeSpan atMost, CancellationToken cancellationToken)
    {
        using var wait = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var woken = wake.WaitToReadAsync(wait.Token).AsTask();
        await Task.WhenAny(woken, Task.Delay(atMost > TimeSpan.Zero ? atMost : TimeSpan.FromMilliseconds(1), _time, wait.Token));
        await wait.CancelAsync();
        cancellationToken.ThrowIfCancellationRequested();
        if (wake.TryRead(out _))
            await Task.Delay(s_together, _time, cancellationToken);
    }

    private static JsonObject NodeView(JsonObject node)
        => new()
        {
            ["metadata"] = new JsonObject { ["name"] = node.Name(), ["uid"] = node.Uid(), ["resourceVersion"] = node.ResourceVersion(), ["labels"] = node.At("metadata", "labels")?.DeepClone() },
            ["status"] = new JsonObject { ["ready"] = node.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == "Ready").Text("status") },
        };

    private sealed record Pending(TaskKind Kind, string Job, string Node, NodeTaskReport Report)
    {
        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
