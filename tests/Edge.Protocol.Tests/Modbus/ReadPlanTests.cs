using Edge.Protocol.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

[Trait("Category", "Devices")]
public sealed class ReadPlanTests
{
    [Fact]
    public void Registers_that_touch_are_read_at_once_and_tables_apart()
        => Assert.Equal(
            ["ReadHoldingRegisters 0+7", "ReadInputRegisters 3+2"],
            Plan(0, (ModbusFunction.ReadHoldingRegisters, 4, 3), (ModbusFunction.ReadInputRegisters, 3, 2), (ModbusFunction.ReadHoldingRegisters, 0, 4)));

    [Fact]
    public void A_gap_is_read_over_when_it_is_allowed()
    {
        (ModbusFunction, int, int)[] spans = [(ModbusFunction.ReadHoldingRegisters, 0, 2), (ModbusFunction.ReadHoldingRegisters, 10, 2)];
        Assert.Equal(["ReadHoldingRegisters 0+2", "ReadHoldingRegisters 10+2"], Plan(7, spans));
        Assert.Equal(["ReadHoldingRegisters 0+12"], Plan(8, spans));
    }

    [Fact]
    public void No_read_is_longer_than_the_protocol_allows()
    {
        Assert.Equal(
            ["ReadHoldingRegisters 0+125", "ReadHoldingRegisters 125+125", "ReadHoldingRegisters 250+50"],
            Plan(0, [.. Enumerable.Range(0, 300).Select(i => (ModbusFunction.ReadHoldingRegisters, i, 1))]));
        Assert.Equal(
            ["ReadCoils 0+2000", "ReadCoils 2000+1"],
            Plan(0, [.. Enumerable.Range(0, 2001).Select(i => (ModbusFunction.ReadCoils, i, 1))]));

        // A value is never split: 125 is odd, a float takes two.
        Assert.Equal(
            ["ReadInputRegisters 0+124", "ReadInputRegisters 124+2"], Plan(0, [.. Enumerable.Range(0, 63).Select(i => (ModbusFunction.ReadInputRegisters, 2 * i, 2))]));
    }

    [Fact]
    public void The_plan_has_as_few_reads_as_the_best_of_all_partitions_and_covers_everything()
    {
        var random = new Random(7);
        for (var round = 0; round < 4000; round++)
        {
            var gap = random.Next(0, 4);
            var limit = random.Next(4, 9);
            var spans = Enumerable.Range(0, random.Next(1, 8))
                .Select(tag => new ReadSpan(ModbusFunction.ReadHoldingRegisters, (ushort)random.Next(0, 20), random.Next(1, 5), tag)).ToArray();
            var reads = new List<PlannedRead>();
            var sorted = spans.ToArray();
            ReadPlan.Make(sorted, gap, reads, limit);
            Assert.True(reads.Count == Fewest(spans, gap, limit), $"round {round}: {reads.Count} reads, {Fewest(spans, gap, limit)} do: gap {gap}, limit {limit}, {string.Join("; ", spans)}");
            Assert.Equal(Enumerable.Range(0, spans.Length), sorted.Select(span => span.Tag).Order());
            Assert.Equal(spans.Length, reads.Sum(read => read.Length));
            foreach (var read in reads)
            {
                Assert.InRange(read.Count, 1, limit);
                for (var i = read.First; i < read.First + read.Length; i++)
                    Assert.True(sorted[i].Address >= read.Address && sorted[i].End <= read.Address + read.Count);
            }
        }
    }

    // Tries every way to put the spans into groups; a group is a read when it fits the limit and has no gap wider than allowed.
    private static int Fewest(ReadSpan[] spans, int gap, int limit)
    {
        var best = int.MaxValue;
        Place(0, []);
        return best;

        void Place(int next, List<List<ReadSpan>> groups)
        {
            if (groups.Count >= best)
                return;
            if (next == spans.Length)
            {
                if (groups.TrueForAll(IsRead))
                    best = groups.Count;
                return;
            }

            for (var i = 0; i <= groups.Count; i++)
            {
                if (i == groups.Count)
                    groups.Add([]);
                groups[i].Add(spans[next]);
                Place(next + 1, groups);
                groups[i].RemoveAt(groups[i].Count - 1);
                if (groups[i].Count == 0)
                {
                    groups.RemoveAt(i);
                    break;
                }
            }
        }

        bool IsRead(List<ReadSpan> group)
        {
            var sorted = group.OrderBy(span => span.Address).ToList();
            var end = sorted[0].End;
            foreach (var span in sorted)
            {
                if (span.Address - end > gap)
                    return false;
                end = Math.Max(end, span.End);
            }

            return end - sorted[0].Address <= limit;
        }
    }

    private static IEnumerable<string> Plan(int gap, params (ModbusFunction Table, int Address, int Count)[] spans)
    {
        var reads = new List<PlannedRead>();
        ReadPlan.Make(spans.Select((span, tag) => new ReadSpan(span.Table, (ushort)span.Address, span.Count, tag)).ToArray(), gap, reads);
        return reads.Select(read => $"{read.Table} {read.Address}+{read.Count}");
    }
}
