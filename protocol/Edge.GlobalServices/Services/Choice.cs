using Edge.GlobalServices.Locations;

namespace Edge.GlobalServices.Services;

/// <summary>What a choice tells about its steps; the empty one costs nothing, as the compiler leaves the calls out.</summary>
internal interface IChoiceTrace
{
    void Client(Location? location, byte scope);

    /// <summary>A step begins among these endpoints.</summary>
    void Step(int step, Policy policy, ReadOnlySpan<ushort> candidates);

    /// <summary>How a step sees an endpoint: km, ms, weight or priority by <paramref name="kind"/>.</summary>
    void Measured(PolicyKind kind, int endpoint, double value);

    /// <summary>The step took this endpoint, or its group.</summary>
    void Chose(int endpoint);
}

/// <summary>The turns of the policies that go round: one counter for each place in the policy that clients can come to, so that what one region asks does not move the
/// turns of another.</summary>
internal sealed class TurnState
{
    private const int Slots = 64;

    private readonly uint[] _turns = new uint[Slots];

    public uint Take(ulong place) => Interlocked.Increment(ref _turns[place % Slots]) - 1;

    /// <summary>A copy: what takes turns there takes none here.</summary>
    public TurnState Copy()
    {
        var copy = new TurnState();
        _turns.CopyTo(copy._turns, 0);
        return copy;
    }
}

/// <summary>Chooses the endpoints of a service for a client. Pure but for the turns, which are given: the same service, client and turns give the same answer. Allocates nothing.</summary>
internal static class Choice
{
    /// <summary>Chooses and writes the addresses.</summary>
    public static Selection Select<TTrace>(
        CompiledService service, bool isIPv6, in ClientSubnet client, LocationTable locations, TurnState turns, Span<UInt128> addresses, ref TTrace trace)
        where TTrace : struct, IChoiceTrace
    {
        var family = service.Of(isIPv6);
        Span<ushort> candidates = stackalloc ushort[family.Eligible.Length];
        family.Eligible.CopyTo(candidates);

        var definition = service.Definition;
        byte scope = 0;
        Location? location = null;
        if (NeedsLocation(definition.Policy))
        {
            location = locations.Find(client, out scope);
            trace.Client(location, scope);
        }

        var state = new Chooser(service, location, turns);
        if (definition.Sticky is { } sticky && client.Address != 0)
        {
            var prefix = client.IsIPv6 ? sticky.IPv6Prefix : sticky.IPv4Prefix;
            state.Subnet = SubnetKey(Network.Containing(client.Address, Math.Min(prefix, client.PrefixLength), client.IsIPv6));
            state.IsSticky = true;
            scope = Math.Max(scope, prefix);
        }

        var (policy, step) = (definition.Policy, 0);
        for (; policy.Then is not null && candidates.Length > 0; policy = policy.Then, step++)
        {
            trace.Step(step, policy, candidates);
            var chosen = state.ChooseGroup(policy.Kind, step, candidates, ref trace);
            trace.Chose(chosen);
            var kept = 0;
            foreach (var candidate in candidates)
            {
                if (service.GroupOf(step, candidate) == service.GroupOf(step, chosen))
                    candidates[kept++] = candidate;
            }

            candidates = candidates[..kept];
            state.Place = Hashing.Mix(state.Place ^ (ulong)(uint)service.GroupOf(step, chosen));
        }

        if (candidates.Length > 0)
            trace.Step(step, policy, candidates);
        var wanted = Math.Min(policy.MaxAnswers, candidates.Length);
        var turn = candidates.Length > 0 ? state.TakeTurn(policy.Kind) : 0;
        var count = 0;
        for (var answers = 0; answers < wanted && count < addresses.Length; answers++)
        {
            var at = state.ChooseOne(policy.Kind, turn, answers, candidates, ref trace);
            trace.Chose(candidates[at]);
            foreach (var address in family.Addresses[candidates[at]])
            {
                if (count < addresses.Length)
                    addresses[count++] = address;
            }

            // The rest stays in order, which the turns need.
            candidates[(at + 1)..].CopyTo(candidates[at..]);
            candidates = candidates[..^1];
        }

        return new Selection(count, definition.TtlSeconds, scope);
    }

    private static bool NeedsLocation(Policy policy)
    {
        for (var step = policy; step is not null; step = step.Then)
        {
            if (step.Kind is PolicyKind.Nearest or PolicyKind.Latency)
                return true;
        }

        return false;
    }

    private static ulong SubnetKey(Network network)
        => Hashing.Mix((ulong)network.Own ^ Hashing.Mix((ulong)(network.Own >> 64) ^ (network.IsIPv6 ? 6UL : 4UL)));

    private ref struct Chooser(CompiledService service, Location? location, TurnState turns)
    {
        private readonly double[]? _latencies = location is null ? null : service.LatenciesFrom(location);

        public ulong Subnet { get; set; }

        public bool IsSticky { get; set; }

        /// <summary>Where in the nesting the choice is.</summary>
        public ulong Place { get; set; }

        public readonly uint TakeTurn(PolicyKind kind)
            => IsSticky || Effective(kind) is PolicyKind.Nearest or PolicyKind.Latency or PolicyKind.Failover ? 0 : turns.Take(Place);

        /// <summary>The endpoint whose group is chosen.</summary>
        public readonly int ChooseGroup<TTrace>(PolicyKind kind, int step, ReadOnlySpan<ushort> candidates, ref TTrace trace)
            where TTrace : struct, IChoiceTrace
        {
            kind = Effective(kind);
            if (kind is PolicyKind.Nearest or PolicyKind.Latency or PolicyKind.Failover)
                return candidates[Least(kind, candidates, ref trace)];

            // A group stands where its first candidate does, with the weight of all.
            Span<ushort> groups = stackalloc ushort[candidates.Length];
            Span<double> weights = stackalloc double[candidates.Length];
            var count = 0;
            foreach (var candidate in candidates)
            {
                var at = 0;
                while (at < count && service.GroupOf(step, groups[at]) != service.GroupOf(step, candidate))
                    at++;
                if (at == count)
                {
                    groups[count] = candidate;
                    weights[count++] = 0;
                }

                weights[at] += service.Endpoints[candidate].Weight;
            }

            var turn = TakeTurn(kind);
            if (kind == PolicyKind.Weighted)
            {
                for (var i = 0; i < count; i++)
                    trace.Measured(kind, groups[i], weights[i]);
            }

            var chosen = IsSticky ? Hashed(groups[..count], kind == PolicyKind.Weighted ? weights[..count] : default, useGroups: step)
                : kind == PolicyKind.Weighted ? ByWeight(turn, 0, weights[..count]) : (int)(turn % (uint)count);
            return groups[chosen];
        }

        /// <summary>The place in <paramref name="candidates"/> of the next endpoint of the answer.</summary>
        public readonly int ChooseOne<TTrace>(PolicyKind kind, uint turn, int answers, ReadOnlySpan<ushort> candidates, ref TTrace trace)
            where TTrace : struct, IChoiceTrace
        {
            kind = Effective(kind);
            if (kind is PolicyKind.Nearest or PolicyKind.Latency or PolicyKind.Failover)
                return Least(kind, candidates, ref trace);
            Span<double> weights = stackalloc double[kind == PolicyKind.Weighted ? candidates.Length : 0];
            for (var i = 0; i < weights.Length; i++)
            {
                weights[i] = service.Endpoints[candidates[i]].Weight;
                trace.Measured(kind, candidates[i], weights[i]);
            }

            if (IsSticky)
                return Hashed(candidates, weights, useGroups: -1);
            // What was taken before is gone from the candidates: the same place is the next one.
            return kind == PolicyKind.Weighted ? ByWeight(turn, answers, weights)
                : (int)(turn % (uint)(candidates.Length + answers)) % candidates.Length;
        }

        // What a policy is for a client of whom nothing is known.
        private readonly PolicyKind Effective(PolicyKind kind) => kind switch
        {
            PolicyKind.Latency when _latencies is null => Effective(PolicyKind.Nearest),
            PolicyKind.Nearest when location is null => PolicyKind.Weighted,
            _ => kind,
        };

        private readonly int Least<TTrace>(PolicyKind kind, ReadOnlySpan<ushort> candidates, ref TTrace trace)
            where TTrace : struct, IChoiceTrace
        {
            var (best, least, tie) = (0, double.PositiveInfinity, double.PositiveInfinity);
            for (var i = 0; i < candidates.Length; i++)
            {
                var endpoint = service.Endpoints[candidates[i]];
                var chord2 = kind == PolicyKind.Failover ? 0 : Location.Chord2(location!, endpoint.Location);
                var value = kind switch
                {
                    PolicyKind.Failover => endpoint.Priority,
                    PolicyKind.Latency => _latencies![candidates[i]],
                    _ => chord2,
                };
                trace.Measured(kind, candidates[i], kind == PolicyKind.Nearest ? GeoPoint.Km(chord2) : value);
                // Endpoints that nobody measured are ordered by distance behind those that somebody did.
                if (value < least || (value == least && chord2 < tie))
                    (best, least, tie) = (i, value, chord2);
            }

            return best;
        }

        // A sequence that fills the weights evenly however short a piece of it one client sees (golden ratio), instead of a drawn number.
        private static int ByWeight(uint turn, int answers, ReadOnlySpan<double> weights)
        {
            var total = 0.0;
            foreach (var weight in weights)
                total += weight;
            var unit = (Hashing.Mix((ulong)answers) * (answers == 0 ? 0UL : 1UL)) + (turn * 0x9E37_79B9_7F4A_7C15UL);
            var part = (unit >> 11) * (1.0 / (1UL << 53));
            if (total <= 0)
                return (int)(part * weights.Length);
            var rest = part * total;
            var last = 0;
            for (var i = 0; i < weights.Length; i++)
            {
                if (weights[i] <= 0)
                    continue;
                last = i;
                rest -= weights[i];
                if (rest < 0)
                    break;
            }

            return last;
        }

        // Weighted rendezvous hashing: each client subnet ranks all endpoints, so only the clients of an endpoint that goes move, and to all others alike.
        private readonly int Hashed(ReadOnlySpan<ushort> candidates, ReadOnlySpan<double> weights, int useGroups)
        {
            var anyWeight = false;
            foreach (var weight in weights)
                anyWeight |= weight > 0;
            var (best, least) = (0, double.PositiveInfinity);
            for (var i = 0; i < candidates.Length; i++)
            {
                var weight = anyWeight ? weights[i] : 1;
                if (weight <= 0)
                    continue;
                var key = useGroups < 0 ? service.Keys[candidates[i]] : service.GroupKeyOf(useGroups, candidates[i]);
                var unit = ((Hashing.Mix(key ^ Subnet) >> 11) + 0.5) * (1.0 / (1UL << 53));
                var value = -Math.Log(unit) / weight;
                if (value < least)
                    (best, least) = (i, value);
            }

            return best;
        }
    }
}
