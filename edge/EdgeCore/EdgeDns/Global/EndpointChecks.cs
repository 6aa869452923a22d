using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Services;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;
using EndpointReport = Edge.Protocol.Sync.EndpointHealth;

namespace Edge.Core.EdgeDns.Global;

/// <summary>Runs the checks that GlobalServices ask of this node (<c>healthCheck.from: edge</c>), and tells the cloud what they find: each change, and everything again when the link
/// comes up, since the cloud forgets what it was told of a node whose session ends.</summary>
internal sealed class EndpointChecks : IAsyncDisposable
{
    private static readonly TimeSpan s_again = TimeSpan.FromSeconds(5);

    private readonly IUplink _uplink;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _log;
    private readonly Action<IReadOnlyDictionary<string, EndpointHealth>> _changed;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, HealthState> _states = new(StringComparer.Ordinal); // of targets alone
    private readonly HashSet<string> _unsaid = new(StringComparer.Ordinal); // of targets alone

    // One wake for any number of changes.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });
    private IReadOnlyList<HealthTarget> _targets = [];
    private HealthMonitor? _monitor; // it ticks, so there is none where nothing is to be checked

    /// <param name="changed">What is known of all endpoints now; quick, on any thread.</param>
    public EndpointChecks(IUplink uplink, Action<IReadOnlyDictionary<string, EndpointHealth>> changed, TimeProvider time, Random random, ILogger log)
    {
        _uplink = uplink;
        _time = time;
        _random = random;
        _log = log;
        _changed = changed;
        _uplink.LinkChanged += LinkChanged;
    }

    /// <summary>Checks that have ended, and those of them that failed.</summary>
    public (long Checks, long Failures) Counts => _monitor?.Counts ?? default;

    /// <summary>Checks that were not made, see <see cref="HealthMonitor.Skipped"/>.</summary>
    public long Skipped => _monitor?.Skipped ?? 0;

    /// <summary>From now on these are checked. One caller at a time.</summary>
    public async ValueTask SetTargetsAsync(IReadOnlyList<HealthTarget> targets, CancellationToken cancellationToken)
    {
        if (targets.SequenceEqual(_targets))
            return;
        _targets = targets;
        _monitor ??= new HealthMonitor(Found, _time, _random);
        await _monitor.SetTargetsAsync(targets, cancellationToken);
    }

    /// <summary>Tells the cloud until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            await _wake.Reader.ReadAsync(cancellationToken);
            List<EndpointReport> reports;
            lock (_gate)
            {
                reports = [.. _unsaid.Select(endpoint => new EndpointReport(endpoint, _states[endpoint].IsUp, _states[endpoint].Reason ?? ""))];
                _unsaid.Clear();
            }

            foreach (var report in reports)
            {
                if (await TryTellAsync(report, cancellationToken))
                    continue;
                lock (_gate)
                {
                    if (_states.ContainsKey(report.Endpoint))
                        _unsaid.Add(report.Endpoint);
                }
            }

            if (IsAnyUnsaid())
            {
                await Task.Delay(s_again, _time, cancellationToken);
                _wake.Writer.TryWrite(true);
            }
        }

        bool IsAnyUnsaid()
        {
            lock (_gate)
                return _unsaid.Count > 0;
        }
    }

    public async ValueTask DisposeAsync()
    {
        _uplink.LinkChanged -= LinkChanged;
        if (_monitor is not null)
            await _monitor.DisposeAsync();
    }

    private async ValueTask<bool> TryTellAsync(EndpointReport report, CancellationToken cancellationToken)
    {
        try
        {
            await _uplink.PostAsync(
                new UplinkEntry(
                    $"{ResourceTypes.EndpointHealth}/{report.Endpoint}", UplinkPriority.NodeStatus, UplinkRule.Newest, Sources.EdgeDns, Groups.Resource, Operations.Update, report.Resource, report.Write()),
                cancellationToken);
            return true;
        }
        catch (StoreException e)
        {
            EdgeDnsLog.HealthNotKept(_log, report.Endpoint, e.Message);
            return false;
        }
    }

    // On the monitor's loop.
    private void Found(IReadOnlyDictionary<string, HealthState> states)
    {
        Dictionary<string, EndpointHealth> now;
        lock (_gate)
        {
            foreach (var (endpoint, state) in states)
            {
                if (state.Status == HealthStatus.Unknown)
                {
                    // Not checked yet, or no target any more.
                    _states.Remove(endpoint);
                    _unsaid.Remove(endpoint);
                    continue;
                }

                _states[endpoint] = state;
                _unsaid.Add(endpoint);
                EdgeDnsLog.HealthFound(_log, endpoint, state.Status.ToString(), state.Reason ?? "");
            }

            now = _states.ToDictionary(pair => pair.Key, pair => new EndpointHealth(pair.Value.IsUp, pair.Value.Reason ?? ""), StringComparer.Ordinal);
        }

        _changed(now);
        _wake.Writer.TryWrite(true);
    }

    private void LinkChanged(bool isUp)
    {
        if (!isUp)
            return;
        lock (_gate)
            _unsaid.UnionWith(_states.Keys);
        _wake.Writer.TryWrite(true);
    }
}
