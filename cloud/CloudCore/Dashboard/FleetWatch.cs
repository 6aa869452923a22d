using Edge.Cloud.EdgeController;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Dashboard;

/// <summary>Keeps a <see cref="FleetModel"/> while somebody looks: its informers start with the first request and end <see cref="IdleAfter"/> after the last one, so that a CloudCore whose
/// page nobody opens pays nothing for it.</summary>
internal sealed class FleetWatch : IAsyncDisposable
{
    public static readonly TimeSpan IdleAfter = TimeSpan.FromMinutes(5);

    private static readonly TimeSpan s_syncWithin = TimeSpan.FromSeconds(10);

    private readonly IKubeClient _kube;
    private readonly LinkHistory _links;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly ITimer _timer;
    private List<Informer> _informers = [];
    private FleetModel? _model;
    private long _usedAt;
    private int _users;
    private bool _isDisposed;

    public FleetWatch(IKubeClient kube, LinkHistory links, TimeProvider time, Random random, ILogger logger)
    {
        _kube = kube;
        _links = links;
        _time = time;
        _random = random;
        _logger = logger;
        _timer = time.CreateTimer(_ => _ = EndIfIdleAsync(), null, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(1)); // it does not throw
    }

    /// <summary>The picture; the first call waits until it is complete, or for 10 s.</summary>
    public async ValueTask<FleetModel> UseAsync(CancellationToken cancellationToken)
    {
        Volatile.Write(ref _usedAt, _time.GetTimestamp());
        if (Volatile.Read(ref _model) is { } there)
            return there;
        await _gate.WaitAsync(cancellationToken);
        try
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (_model is { } model)
                return model;
            model = new FleetModel(_links);
            Start(model);
            try
            {
                await Task.WhenAll(_informers.Select(informer => informer.Synced)).WaitAsync(s_syncWithin, _time, cancellationToken);
            }
            catch (TimeoutException)
            {
                // Events or devices may not be listable here; what there is is shown, and the informers go on trying.
                DashboardLog.Incomplete(_logger, string.Join(", ", _informers.Where(informer => !informer.Synced.IsCompleted).Select(informer => informer.Kind.Plural)));
            }

            catch (OperationCanceledException)
            {
                // Who asked has gone before there was anything to see; the next one starts anew.
                await EndAsync();
                throw;
            }

            _links.Changed = model.Touch;
            Volatile.Write(ref _model, model);
            return model;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Counts a listener that looks on without asking.</summary>
    public IDisposable Hold()
    {
        Interlocked.Increment(ref _users);
        return new Holding(this);
    }

    public async ValueTask DisposeAsync()
    {
        await _timer.DisposeAsync();
        await _gate.WaitAsync();
        _isDisposed = true;
        await EndAsync();
        _gate.Release();
    }

    private void Start(FleetModel model)
    {
        void Watch(ResourceKind kind, ListOptions options)
        {
            var informer = new Informer(_kube, kind, null, options, _time, new Random(_random.Next()), _logger) { CachesIdentities = true };
            _informers.Add(informer);
            informer.Start((change, _) =>
            {
                model.Changed(kind, change);
                return ValueTask.CompletedTask;
            });
        }

        Watch(ResourceKind.Node, new ListOptions(LabelSelector: PodPlacement.EdgeRoleLabel));
        Watch(ResourceKind.Pod, new ListOptions(FieldSelector: "spec.nodeName!="));
        Watch(ResourceKind.Device, new ListOptions());
        Watch(ResourceKind.DeviceStatus, new ListOptions());
        Watch(GslbKinds.GlobalService, new ListOptions());
        Watch(ResourceKind.Event, new ListOptions());
    }

    private async Task EndIfIdleAsync()
    {
        if (_model is null || Volatile.Read(ref _users) > 0 || _time.GetElapsedTime(Volatile.Read(ref _usedAt)) < IdleAfter || !await _gate.WaitAsync(0))
            return;
        try
        {
            if (Volatile.Read(ref _users) == 0 && _time.GetElapsedTime(Volatile.Read(ref _usedAt)) >= IdleAfter)
                await EndAsync();
        }
        finally
        {
            _gate.Release();
        }
    }

    private async Task EndAsync()
    {
        _links.Changed = null;
        Volatile.Write(ref _model, null);
        var informers = _informers;
        _informers = [];
        foreach (var informer in informers)
            await informer.DisposeAsync();
    }

    private sealed class Holding(FleetWatch watch) : IDisposable
    {
        private int _isReleased;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isReleased, 1) != 0)
                return;
            Volatile.Write(ref watch._usedAt, watch._time.GetTimestamp());
            Interlocked.Decrement(ref watch._users);
        }
    }
}
