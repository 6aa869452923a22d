using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Cloud.Observability;
using Edge.Common;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.NodeGroups;

/// <summary>Keeps NodeGroups and EdgeApplications (kubeedge-wire §7); a duty of the leader, since two would write against each other. Everything is decided anew from the cluster's state, so
/// a change that was missed or a leader that ended costs nothing but time.</summary>
internal sealed class NodeGroupController(IKubeClient kube, EventRecorder events, TimeProvider time, Random random, ILogger logger)
{
    // Changes that come together are looked at together.
    private static readonly TimeSpan s_together = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_retryFirst = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_retryMost = TimeSpan.FromMinutes(1);

    // What somebody else changed of kinds that are not watched is seen by then.
    private static readonly TimeSpan s_again = TimeSpan.FromMinutes(5);

    /// <summary>Runs until the token is cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var term = new Term(kube, events, time, new Random(random.Next()), logger);
        try
        {
            await term.RunAsync(cancellationToken);
        }
        finally
        {
            await term.DisposeAsync();
        }
    }

    /// <summary>What one leadership holds.</summary>
    private sealed class Term : IAsyncDisposable
    {
        private readonly IKubeClient _kube;
        private readonly TimeProvider _time;
        private readonly Random _random;
        private readonly ILogger _logger;
        private readonly NodeGroupKeeper _groups;
        private readonly EdgeAppKeeper _apps;
        private readonly List<Informer> _informers = [];
        private readonly Lock _gate = new();
        private readonly Dictionary<(string Namespace, string Name), App> _due = []; // one entry an application; locked by _gate
        private readonly HashSet<ResourceKind> _watched = [];

        // One wake for any number of changes.
        private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });
        private bool _groupsChanged = true; // locked by _gate
        private int _groupFailures;

        public Term(IKubeClient kube, EventRecorder events, TimeProvider time, Random random, ILogger logger)
        {
            _kube = kube;
            _time = time;
            _random = random;
            _logger = logger;
            _groups = new NodeGroupKeeper(kube, logger);
            _apps = new EdgeAppKeeper(kube, events, logger) { Wrote = FollowKind };
        }

        private long NowMs => (long)(_time.GetTimestamp() * 1000.0 / _time.TimestampFrequency);

        public async Task RunAsync(CancellationToken cancellationToken)
        {
            var groups = Watch(AppKinds.NodeGroup, null, _ => GroupsChanged());
            var nodes = Watch(ResourceKind.Node, NodeView, change =>
            {
                if (change.Old is null || change.Type == ChangeType.Deleted || !SaysTheSame(change.Old, change.Object))
                    GroupsChanged();
            });
            var apps = Watch(AppKinds.EdgeApplication, null, AppChanged);
            await Task.WhenAll(_informers.Select(informer => informer.Synced)).WaitAsync(cancellationToken);
            var isSwept = false;
            while (true)
            {
                isSwept = isSwept || await _groups.SweepAsync(groups.List(), nodes.List(), cancellationToken);
                await KeepGroupsAsync(groups, nodes, cancellationToken);
                await KeepAppsAsync(apps, cancellationToken);
                await WaitAsync(isSwept ? NextDue() : (long)s_retryMost.TotalMilliseconds, cancellationToken);
            }
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var informer in _informers)
                await informer.DisposeAsync();
        }

        private Informer Watch(ResourceKind kind, Func<JsonObject, JsonObject>? view, Action<ObjectChange> changed)
        {
            var informer = new Informer(_kube, kind, null, new ListOptions(), _time, new Random(_random.Next()), _logger) { Transform = view };
            _informers.Add(informer);
            informer.Start((change, _) =>
            {
                changed(change);
                return ValueTask.CompletedTask;
            });
            return informer;
        }

        private void GroupsChanged()
        {
            lock (_gate)
                _groupsChanged = true;
            _wake.Writer.TryWrite(true);
        }

        private void AppChanged(ObjectChange change)
        {
            lock (_gate)
            {
                var key = (change.Object.Namespace(), change.Object.Name());
                if (change.Type == ChangeType.Deleted)
                    _due.Remove(key);
                else
                    _due[key] = new App(0, 0);
            }

            _wake.Writer.TryWrite(true);
        }

        // Only Deployments have a state that changes by itself; watching every kind would hold every Secret of the cluster here.
        private void FollowKind(ResourceKind kind)
        {
            if (kind != AppKinds.Deployment || !_watched.Add(kind))
                return;
            Watch(kind, DeploymentView, change =>
            {
                lock (_gate)
                {
                    foreach (var owner in change.Object.Items("metadata", "ownerReferences").Where(owner => owner.Text("kind") == AppKinds.EdgeApplication.Kind))
                    {
                        var key = (change.Object.Namespace(), owner.Text("name"));
                        if (_due.ContainsKey(key))
                            _due[key] = new App(0, 0);
                    }
                }

                _wake.Writer.TryWrite(true);
            });
        }

        private async Task KeepGroupsAsync(Informer groups, Informer nodes, CancellationToken cancellationToken)
        {
            lock (_gate)
            {
                if (!_groupsChanged)
                    return;
                _groupsChanged = false;
            }

            if (await GuardAsync("NodeGroup", "(all)", () => _groups.KeepAsync(groups.List(), nodes.List(), cancellationToken), cancellationToken))
            {
                _groupFailures = 0;
                return;
            }

            _groupFailures++;
            lock (_gate)
                _groupsChanged = true;
        }

        private async Task KeepAppsAsync(Informer apps, CancellationToken cancellationToken)
        {
            List<KeyValuePair<(string Namespace, string Name), App>> due;
            lock (_gate)
                due = [.. _due.Where(pair => pair.Value.DueMs <= NowMs)];
            foreach (var (key, state) in due)
            {
                if (apps.Get(key.Namespace, key.Name) is not { } app)
                    continue;
                var isDone = await GuardAsync("EdgeApplication", $"{key.Namespace}/{key.Name}", () => _apps.KeepAsync(app, cancellationToken), cancellationToken);
                var failures = isDone ? 0 : state.Failures + 1;
                var wait = isDone ? s_again : Backoff.FullJitter(failures, s_retryFirst, s_retryMost, _random);
                lock (_gate)
                {
                    // Unless it changed meanwhile.
                    if (_due.TryGetValue(key, out var now) && ReferenceEquals(now, state))
                        _due[key] = new App(NowMs + (long)wait.TotalMilliseconds, failures);
                }
            }
        }

        private async Task<bool> GuardAsync(string kind, string name, Func<Task<bool>> act, CancellationToken cancellationToken)
        {
            try
            {
                return await act();
            }
            catch (KubeException e)
            {
                NodeGroupLog.Failed(_logger, $"{kind} {name}", e.Message);
                return false;
            }
            catch (Exception e) when (e is not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
            {
                // One that nobody can keep must not hold up the others.
                NodeGroupLog.Defect(_logger, kind, name, e);
                return false;
            }
        }

        private long NextDue()
        {
            lock (_gate)
            {
                var next = _due.Count == 0 ? (long)s_again.TotalMilliseconds : _due.Values.Min(app => app.DueMs) - NowMs;
                return _groupsChanged ? Math.Min(next, (long)Backoff.FullJitter(_groupFailures, s_retryFirst, s_retryMost, _random).TotalMilliseconds) : next;
            }
        }

        private async Task WaitAsync(long milliseconds, CancellationToken cancellationToken)
        {
            using var wait = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var wake = _wake.Reader.WaitToReadAsync(wait.Token).AsTask();
            await Task.WhenAny(wake, Task.Delay(TimeSpan.FromMilliseconds(Math.Max(1, milliseconds)), _time, wait.Token));
            await wait.CancelAsync();
            cancellationToken.ThrowIfCancellationRequested();
            if (_wake.Reader.TryRead(out _))
                await Task.Delay(s_together, _time, cancellationToken);
        }

        private static JsonObject NodeView(JsonObject node)
        {
            var metadata = new JsonObject { ["name"] = node.Name(), ["uid"] = node.Uid(), ["resourceVersion"] = node.ResourceVersion(), ["labels"] = node.At("metadata", "labels")?.DeepClone() };
            var ready = node.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == "Ready").Text("status");
            return new JsonObject
            {
                ["metadata"] = metadata,
                ["status"] = new JsonObject { ["conditions"] = new JsonArray(new JsonObject { ["type"] = "Ready", ["status"] = ready }) },
            };
        }

        private static bool SaysTheSame(JsonObject one, JsonObject other)
            => JsonNode.DeepEquals(one.At("metadata", "labels"), other.At("metadata", "labels")) && JsonNode.DeepEquals(one["status"], other["status"]);

        private static JsonObject DeploymentView(JsonObject deployment)
        {
            var view = KubeObject.Identity(deployment.ApiVersion(), deployment.Kind(), deployment.Namespace(), deployment.Name(), deployment.Uid(), deployment.ResourceVersion());
            view.Child("metadata")["ownerReferences"] = deployment.At("metadata", "ownerReferences")?.DeepClone();
            return view;
        }

        /// <summary>When an application is to be looked at, on a steady clock, and how often in a row that failed.</summary>
        private sealed record App(long DueMs, int Failures);
    }
}
