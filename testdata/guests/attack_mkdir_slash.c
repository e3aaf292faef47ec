/* attack_mkdir_slash: a slash behind the name of a link must not make the kernel follow it on the host.
 *
 *   attack_mkdir_slash DIR ALIAS    DIR is writable, ALIAS the same directory read-only: three equal answers */
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
int main(int c,char**v){/* v1 rw dir, v2 ro alias */chdir(v[1]);symlink("/root/.ssh","l1");symlink("/root/nonexistent","l2");symlink("/var/tmp/hid","l3");char p[300];for(int i=1;i<4;i++){sprintf(p,"%s/l%d/",v[2],i);int r=mkdir(p,0755);printf("l%d: %d %s\n",i,r,strerror(errno));}}
