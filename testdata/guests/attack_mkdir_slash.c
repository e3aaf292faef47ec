/* attack_mkdir_slash: a slash behind the name of a link must not make the kernel follow it on the host.
 *
 *   attack_mkdir_slash DIR ALIAS THERE ABSENT    DIR is writable, ALIAS the same directory read-only, THERE a directory
 *                                              outside the view and ABSENT none: two equal answers */
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
int main(int c,char**v){chdir(v[1]);symlink(v[3],"l1");symlink(v[4],"l2");char p[300];for(int i=1;i<3;i++){sprintf(p,"%s/l%d/",v[2],i);int r=mkdir(p,0755);printf("l%d: %d %s\n",i,r,strerror(errno));}}
