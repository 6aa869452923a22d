using Edge.GlobalServices.Locations;

namespace Edge.GlobalServices.Services;

/// <summary>The services and locations of one moment. Safe on any thread; a change makes a new one, and the turns go on.</summary>
/// <param name="counts">Where clients are sent is counted here; null counts nothing.</param>
internal sealed class AddressSelector(IReadOnlyList<CompiledService> services, LocationTable locations, IReadOnlyList<TurnState> turns, ClientCounts? counts = null) : IAddressSelector
{
    private readonly CompiledService[] _services = [.. services];
    private readonly TurnState[] _turns = [.. turns];

    public LocationTable Locations => locations;

    public IReadOnlyList<CompiledService> Services => _services;

    public Selection Select(int service, bool ipv6, in ClientSubnet client, Span<UInt128> addresses)
    {
        if ((uint)service >= (uint)_services.Length)
            return default;
        if (counts is not null)
        {
            var seen = new SeenTrace();
            var selection = Choice.Select(_services[service], ipv6, client, locations, _turns[service], addresses, ref seen);
            if (seen.Endpoint >= 0 && selection.Count > 0)
                counts.Count(_services[service].Definition.Name, _services[service].Endpoints[seen.Endpoint].Name, seen.Location);
            return selection;
        }

        var trace = default(NoTrace);
        return Choice.Select(_services[service], ipv6, client, locations, _turns[service], addresses, ref trace);
    }

    /// <summary>The same choice, told step by step; takes no turn.</summary>
    public Explanation Explain(int service, bool ipv6, in ClientSubnet client) => Explanation.Of(_services[service], ipv6, client, locations, _turns[service].Copy());

    /// <summary>Keeps where the client is and the first endpoint chosen.</summary>
    private struct SeenTrace() : IChoiceTrace
    {
        public Location? Location { get; private set; }

        public int Endpoint { get; private set; } = -1;

        public void Client(Location? location, byte scope) => Location = location;

        public readonly void Step(int step, Policy policy, ReadOnlySpan<ushort> candidates)
        {
        }

        public readonly void Measured(PolicyKind kind, int endpoint, double value)
        {
        }

        public void Chose(int endpoint) => Endpoint = Endpoint < 0 ? endpoint : Endpoint;
    }

    private readonly struct NoTrace : IChoiceTrace
    {
        public void Client(Location? location, byte scope)
        {
        }

        public void Step(int step, Policy policy, ReadOnlySpan<ushort> candidates)
        {
        }

        public void Measured(PolicyKind kind, int endpoint, double value)
        {
        }

        public void Chose(int endpoint)
        {
        }
    }
}
