using Edge.GlobalServices.Locations;

namespace Edge.GlobalServices.Services;

/// <summary>The services and locations of one moment. Safe on any thread; a change makes a new one, and the turns go on.</summary>
internal sealed class AddressSelector(IReadOnlyList<CompiledService> services, LocationTable locations, IReadOnlyList<TurnState> turns) : IAddressSelector
{
    private readonly CompiledService[] _services = [.. services];
    private readonly TurnState[] _turns = [.. turns];

    public LocationTable Locations => locations;

    public IReadOnlyList<CompiledService> Services => _services;

    public Selection Select(int service, bool ipv6, in ClientSubnet client, Span<UInt128> addresses)
    {
        if ((uint)service >= (uint)_services.Length)
            return default;
        var trace = default(NoTrace);
        return Choice.Select(_services[service], ipv6, client, locations, _turns[service], addresses, ref trace);
    }

    /// <summary>The same choice, told step by step; takes no turn.</summary>
    public Explanation Explain(int service, bool ipv6, in ClientSubnet client) => Explanation.Of(_services[service], ipv6, client, locations, _turns[service].Copy());

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
