using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Edge.Protocol.Dns.Server;

/// <summary>Many datagrams a system call. Its memory is outside the collector's and fixed at the start: nothing is allocated for a query.</summary>
internal sealed unsafe class BatchUdpWorker(Socket socket, IDnsResponder responder, int batch, bool packetInfo, TimeProvider clock, Action<Exception>? failed) : UdpWorker(socket)
{
    private const int NameSize = 28; // struct sockaddr_in6, the longer one
    private const int ControlSize = 64; // one in_pktinfo or in6_pktinfo with its header

    public override void Run()
    {
        const int Each = (2 * DnsUdpServer.QueryMax) + ControlSize + 32;
        var memory = (byte*)NativeMemory.AllocZeroed((nuint)(batch * Each));
        var messages = (UdpNative.Message*)NativeMemory.AllocZeroed((nuint)(2 * batch * sizeof(UdpNative.Message)));
        var vectors = (UdpNative.Vector*)NativeMemory.AllocZeroed((nuint)(2 * batch * sizeof(UdpNative.Vector)));
        try
        {
            Serve(memory, messages, messages + batch, vectors);
        }
        finally
        {
            NativeMemory.Free(memory);
            NativeMemory.Free(messages);
            NativeMemory.Free(vectors);
        }
    }

    private void Serve(byte* memory, UdpNative.Message* received, UdpNative.Message* sent, UdpNative.Vector* vectors)
    {
        var queries = memory;
        var responses = memory + (batch * DnsUdpServer.QueryMax);
        var names = responses + (batch * DnsUdpServer.QueryMax);
        var controls = names + (batch * 32);
        for (var i = 0; i < batch; i++)
        {
            vectors[i] = new UdpNative.Vector { Base = queries + (i * DnsUdpServer.QueryMax), Length = DnsUdpServer.QueryMax };
            received[i] = new UdpNative.Message { Name = names + (i * 32), Vectors = vectors + i, VectorCount = 1, Control = packetInfo ? controls + (i * ControlSize) : null };
            sent[i] = new UdpNative.Message { Vectors = vectors + batch + i, VectorCount = 1 };
        }

        var handle = Socket.Handle;
        var used = batch;
        while (!IsStopped)
        {
            for (var i = 0; i < used; i++)
            {
                received[i].NameLength = NameSize;
                received[i].ControlLength = packetInfo ? ControlSize : 0u;
            }

            used = UdpNative.ReceiveMany(handle, received, (uint)batch, UdpNative.WaitForOne, 0);
            if (used <= 0)
            {
                // The time-out, a signal, or an ICMP error of an earlier answer: nothing was received.
                if (Marshal.GetLastPInvokeError() is not (UdpNative.WouldBlock or UdpNative.Interrupted) && used < 0)
                    Counters.SendFailures++;
                used = 0;
                continue;
            }

            var answers = Answer(received, used, sent, responses, clock.GetUtcNow().ToUnixTimeMilliseconds());
            Send(handle, sent, answers);
        }
    }

    private int Answer(UdpNative.Message* received, int count, UdpNative.Message* sent, byte* responses, long now)
    {
        var answers = 0;
        for (var i = 0; i < count; i++)
        {
            ref var from = ref received[i];
            if ((from.Flags & UdpNative.Truncated) != 0 || !SocketAddresses.TryRead(new ReadOnlySpan<byte>(from.Name, (int)from.NameLength), out var address, out var port))
            {
                Counters.Count(default);
                continue;
            }

            var response = new Span<byte>(responses + (answers * DnsUdpServer.QueryMax), DnsUdpServer.QueryMax);
            var request = new DnsRequest(address, port, IsTcp: false, now);
            var length = ResponderCall.Respond(responder, new ReadOnlySpan<byte>(from.Vectors->Base, (int)from.Length), request, response, Counters, failed);
            Counters.Count(response[..length]);
            if (length <= 0)
                continue;
            ref var to = ref sent[answers];
            to.Name = from.Name;
            to.NameLength = from.NameLength;
            to.Vectors->Base = responses + (answers * DnsUdpServer.QueryMax);
            to.Vectors->Length = (nuint)length;
            if (packetInfo)
            {
                to.Control = from.Control;
                to.ControlLength = from.ControlLength;
                ForgetInterface(from.Control, from.ControlLength);
            }

            answers++;
        }

        return answers;
    }

    // struct cmsghdr has 16 bytes. The interface index is 0 again, so that the answer takes the route it takes: in_pktinfo has it first,
    // in6_pktinfo behind the address. A link-local address needs its interface.
    private static void ForgetInterface(byte* control, nuint length)
    {
        if (length >= 28 && *(int*)(control + 8) == 0)
            *(int*)(control + 16) = 0;
        else if (length >= 36 && !(control[16] == 0xfe && (control[17] & 0xc0) == 0x80))
            *(int*)(control + 32) = 0;
    }

    private void Send(nint handle, UdpNative.Message* messages, int count)
    {
        for (var at = 0; at < count;)
        {
            var done = UdpNative.SendMany(handle, messages + at, (uint)(count - at), 0);
            if (done > 0)
            {
                at += done;
            }
            else if (Marshal.GetLastPInvokeError() != UdpNative.Interrupted)
            {
                // The first of them cannot be sent (no route, no buffer): that one is lost, as UDP may.
                Counters.SendFailures++;
                at++;
            }
        }
    }
}
